-- What `slussen today`, `why` and `obligations` look for, found without reading the ledger through.
set role slussen_owner;

-- Which window a collected file belongs to: the start of the interval of the run that collected it, nothing by hand.
create index event_interval on ledger.event (integration, coalesce(data ->> 'interval', ''), at) where kind = 'collected';
-- What somebody owes us.
create index event_awaiting on ledger.event (stream) where kind = 'awaiting';
-- Which alarms stand.
create index event_alarm on ledger.event (stream, nth) where kind in ('alarm', 'recovered');

reset role;
