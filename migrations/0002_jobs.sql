-- Who works on what, and what they handed in.

create table leases (
    id bigint generated always as identity,
    request numeric(78, 0) not null,
    attempt bigint not null,
    worker bytea not null,
    status text not null,
    detail text not null,
    offered_at bigint not null,
    expires_at bigint not null,
    constraint leases_pkey primary key (id),
    constraint leases_request_fkey foreign key (request) references requests (id),
    constraint leases_worker_check check (octet_length(worker) = 20),
    constraint leases_status_check check (status in ('offered', 'accepted', 'submitted', 'refused', 'expired', 'failed'))
);
-- One worker at a time.
create unique index leases_open_key on leases (request, attempt) where status in ('offered', 'accepted', 'submitted');
create index leases_worker_index on leases (worker);

create table trace_commitments (
    request numeric(78, 0) not null,
    attempt bigint not null,
    worker bytea not null,
    number bigint not null,
    commitment bytea not null,
    constraint trace_commitments_pkey primary key (request, attempt, worker, number),
    constraint trace_commitments_request_fkey foreign key (request) references requests (id),
    constraint trace_commitments_worker_check check (octet_length(worker) = 20),
    constraint trace_commitments_commitment_check check (octet_length(commitment) = 32)
);
create index trace_commitments_commitment_index on trace_commitments (commitment);

-- Signed results that passed every check that can be made without running the model.
create table submissions (
    claim bytea not null,
    lease bigint not null,
    request numeric(78, 0) not null,
    attempt bigint not null,
    worker bytea not null,
    node bytea not null,
    output_data bytea not null,
    trace_root bytea not null,
    valid_until bigint not null,
    signature bytea not null,
    status text not null,
    detail text not null,
    constraint submissions_pkey primary key (claim),
    constraint submissions_lease_key unique (lease),
    constraint submissions_lease_fkey foreign key (lease) references leases (id),
    constraint submissions_claim_check check (octet_length(claim) = 32),
    constraint submissions_worker_check check (octet_length(worker) = 20),
    constraint submissions_node_check check (octet_length(node) = 20),
    constraint submissions_trace_root_check check (octet_length(trace_root) = 32),
    constraint submissions_signature_check check (octet_length(signature) = 65),
    constraint submissions_status_check check (status in ('waiting', 'claimed', 'failed'))
);
create index submissions_worker_index on submissions (worker);

create table layers (
    claim bytea not null,
    layer bigint not null,
    root bytea not null,
    signature bytea not null,
    constraint layers_pkey primary key (claim, layer),
    constraint layers_claim_fkey foreign key (claim) references claims (id),
    constraint layers_root_check check (octet_length(root) = 32),
    constraint layers_signature_check check (octet_length(signature) = 65)
);

create table layer_commitments (
    claim bytea not null,
    layer bigint not null,
    number bigint not null,
    commitment bytea not null,
    constraint layer_commitments_pkey primary key (claim, layer, number),
    constraint layer_commitments_layer_fkey foreign key (claim, layer) references layers (claim, layer),
    constraint layer_commitments_commitment_check check (octet_length(commitment) = 32)
);
create index layer_commitments_commitment_index on layer_commitments (commitment);

-- Values on disk, named by their commitment. The row is written after the file and deleted before it.
create table stored_values (
    commitment bytea not null,
    dtype smallint not null,
    dims bigint[] not null,
    length bigint not null,
    constraint stored_values_pkey primary key (commitment),
    constraint stored_values_commitment_check check (octet_length(commitment) = 32),
    constraint stored_values_dtype_check check (dtype in (1, 2, 6, 7, 9)),
    constraint stored_values_length_check check (length >= 0)
);

-- Which jobs need a value.
create table value_uses (
    commitment bytea not null,
    request numeric(78, 0) not null,
    attempt bigint not null,
    worker bytea not null,
    constraint value_uses_pkey primary key (request, attempt, worker, commitment),
    constraint value_uses_commitment_fkey foreign key (commitment) references stored_values (commitment),
    constraint value_uses_worker_check check (octet_length(worker) = 20)
);
create index value_uses_commitment_index on value_uses (commitment);
