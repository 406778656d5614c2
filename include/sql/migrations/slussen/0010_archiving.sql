-- Moves to a source's archive: which have been said to be done, and which went to a place.
set role slussen_owner;

create index event_moved on ledger.event (integration, (data -> 'noted')) where data ? 'noted';
create index event_place on ledger.event ((data ->> 'place')) where kind = 'archiving';

reset role;
