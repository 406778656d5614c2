-- What was begun since a time, for the question what of it has come to no end.
set role slussen_owner;

create index event_begun on ledger.event (integration, at) where nth = 1;

reset role;
