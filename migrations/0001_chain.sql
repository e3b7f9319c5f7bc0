-- What the coordinator knows of the chain. Rows here are a copy: payloads from events, states from views as of one block.
-- `dirty` rows are read again from the contracts at the tip; a reorganisation only makes rows dirty.

-- The one deployment that everything here is about.
create table deployment (
    single boolean not null default true,
    chain_id numeric(20, 0) not null,
    market bytea not null,
    constraint deployment_pkey primary key (single),
    constraint deployment_single_check check (single),
    constraint deployment_market_check check (octet_length(market) = 20)
);

create table blocks (
    number bigint not null,
    hash bytea not null,
    parent bytea not null,
    timestamp bigint not null,
    base_fee bigint not null,
    constraint blocks_pkey primary key (number),
    constraint blocks_hash_key unique (hash),
    constraint blocks_number_check check (number >= 0),
    constraint blocks_hash_check check (octet_length(hash) = 32),
    constraint blocks_parent_check check (octet_length(parent) = 32)
);

create table models (
    id bytea not null,
    publisher bytea not null,
    file_digest bytea not null,
    plan_root bytea not null,
    weights_root bytea not null,
    operators bigint not null,
    weights bigint not null,
    trace_values bigint not null,
    layers bigint not null,
    profile numeric(20, 0) not null,
    io bytea not null,
    uri text not null,
    price numeric(78, 0) not null,
    constraint models_pkey primary key (id),
    constraint models_id_check check (octet_length(id) = 32),
    constraint models_publisher_check check (octet_length(publisher) = 20),
    constraint models_file_digest_check check (octet_length(file_digest) = 32),
    constraint models_plan_root_check check (octet_length(plan_root) = 32),
    constraint models_weights_root_check check (octet_length(weights_root) = 32)
);

create table requests (
    id numeric(78, 0) not null,
    model bytea not null,
    requester bytea not null,
    inputs bytea not null,
    input_data bytea not null,
    callback_gas bigint not null,
    callback_gas_price numeric(39, 0) not null,
    status text not null,
    delivery text not null,
    attempt bigint not null,
    deadline bigint not null,
    limit_at bigint not null,
    touched bigint not null,
    dirty boolean not null,
    constraint requests_pkey primary key (id),
    constraint requests_model_check check (octet_length(model) = 32),
    constraint requests_requester_check check (octet_length(requester) = 20),
    constraint requests_inputs_check check (octet_length(inputs) = 32),
    constraint requests_status_check check (status in ('requested', 'claimed', 'final', 'refunded', 'void', 'orphaned')),
    constraint requests_delivery_check check (delivery in ('none', 'pending', 'succeeded', 'reverted'))
);
create index requests_dirty_index on requests (id) where dirty;
create index requests_status_index on requests (status);

-- Orders the changes of claims for watchers; the follower alone writes.
create sequence claim_changes;

create table claims (
    id bytea not null,
    request numeric(78, 0) not null,
    attempt bigint not null,
    worker bytea not null,
    node bytea not null,
    poster bytea not null,
    outputs bytea not null,
    trace_root bytea not null,
    output_data bytea not null,
    window_end bigint not null,
    status text not null,
    open_disputes bigint not null,
    change bigint not null,
    touched bigint not null,
    dirty boolean not null,
    constraint claims_pkey primary key (id),
    constraint claims_request_fkey foreign key (request) references requests (id),
    constraint claims_id_check check (octet_length(id) = 32),
    constraint claims_worker_check check (octet_length(worker) = 20),
    constraint claims_node_check check (octet_length(node) = 20),
    constraint claims_poster_check check (octet_length(poster) = 20),
    constraint claims_outputs_check check (octet_length(outputs) = 32),
    constraint claims_trace_root_check check (octet_length(trace_root) = 32),
    constraint claims_status_check check (status in ('open', 'final', 'struck', 'void', 'orphaned'))
);
create index claims_dirty_index on claims (id) where dirty;
create index claims_request_index on claims (request);
create index claims_worker_index on claims (worker);
create unique index claims_change_key on claims (change);

create table disputes (
    id bytea not null,
    claim bytea not null,
    challenger bytea not null,
    phase text not null,
    tree text not null,
    layer bigint not null,
    node bytea not null,
    depth bigint not null,
    position bigint not null,
    operator bigint not null,
    element numeric(20, 0) not null,
    state bytea not null,
    deadline bigint not null,
    touched bigint not null,
    dirty boolean not null,
    constraint disputes_pkey primary key (id),
    constraint disputes_claim_fkey foreign key (claim) references claims (id),
    constraint disputes_id_check check (octet_length(id) = 32),
    constraint disputes_challenger_check check (octet_length(challenger) = 20),
    constraint disputes_node_check check (octet_length(node) = 32),
    constraint disputes_state_check check (octet_length(state) = 32),
    constraint disputes_tree_check check (tree in ('trace', 'layer')),
    constraint disputes_phase_check check (phase in
        ('choosing', 'revealing', 'picking', 'layering', 'defending',
         'struck', 'lost', 'conceded', 'voided', 'moot', 'settled', 'orphaned'))
);
create index disputes_dirty_index on disputes (id) where dirty;
create index disputes_claim_index on disputes (claim);
create index disputes_phase_index on disputes (phase);
