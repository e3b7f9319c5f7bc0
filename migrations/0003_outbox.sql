-- Transactions to be sent, each once per purpose, and every signed attempt, written before it is broadcast.

create table outbox (
    key text not null,
    line text not null,
    destination bytea not null,
    data bytea not null,
    value numeric(78, 0) not null,
    deadline bigint not null,
    gas_floor bigint not null,
    status text not null,
    reason text not null,
    transaction bytea,
    block bytea,
    gas_used bigint,
    updated_at bigint not null,
    constraint outbox_pkey primary key (key),
    constraint outbox_line_check check (line in ('claims', 'disputes')),
    constraint outbox_destination_check check (octet_length(destination) = 20),
    constraint outbox_status_check check (status in ('open', 'succeeded', 'reverted', 'refused')),
    constraint outbox_transaction_check check (octet_length(transaction) = 32),
    constraint outbox_block_check check (octet_length(block) = 32),
    constraint outbox_mined_check check ((status in ('succeeded', 'reverted')) = (transaction is not null))
);
create index outbox_open_index on outbox (line, deadline) where status = 'open';

create table outbox_attempts (
    hash bytea not null,
    key text not null,
    nonce bigint not null,
    raw bytea not null,
    max_fee numeric(39, 0) not null,
    priority_fee numeric(39, 0) not null,
    signed_at bigint not null,
    constraint outbox_attempts_pkey primary key (hash),
    constraint outbox_attempts_key_fkey foreign key (key) references outbox (key),
    constraint outbox_attempts_hash_check check (octet_length(hash) = 32)
);
create index outbox_attempts_key_index on outbox_attempts (key);
