-- Who could not be told, found by the days that a look goes back.
set role slussen_owner;

create index event_told on ledger.event (at) where kind in ('alarm', 'recovered', 'notifying', 'notified', 'unnotified');

reset role;
