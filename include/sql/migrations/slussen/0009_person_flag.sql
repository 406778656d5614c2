-- What a sender's files have said of persons whom they flagged as protected: so that a later file in which one of them
-- has lost the flag is seen. Persons are keyed hashes, which give nobody away. Flagged ones, and those of them that a
-- later file told of without a flag; nobody else, so that it stays small. Held by no other table: older than sent.seen.
set role slussen_owner;

create table sent.person_flag (
    interchange text not null,
    integration text not null,
    at timestamptz not null,
    key bytea not null,
    flagged boolean not null,
    primary key (interchange, key)
);
create index on sent.person_flag (integration, key, at);
comment on column sent.person_flag.at is 'The run''s clock at the gate. The newest of what was sent is the sender''s word.';

grant select, insert, delete on sent.person_flag to slussen;

reset role;
