-- What `slussen today`, `why` and `obligations` look for, found without reading the ledger through.
set role slussen_owner;

-- Which window a collected file belongs to: the start of the interval of the run that collected it.
create index event_interval on ledger.event (integration, (data ->> 'interval')) where kind = 'collected';
-- What somebody owes us, and what settles it.
create index event_awaiting on ledger.event (stream) where kind = 'awaiting';
create index event_settling on ledger.event (stream, kind) where kind in ('receipt', 'answered', 'answers', 'overdue');

reset role;
