-- What a receipt is about, found without reading the ledger through: messages by their ids, receipts by their own.
set role slussen_owner;

create index event_message on ledger.event ((data ->> 'message')) where kind = 'sending';
create index event_reference on ledger.event (stream, (data ->> 'reference')) where kind in ('receipt', 'delayed');
create index event_answers on ledger.event ((data ->> 'of')) where kind = 'answers';

reset role;
