-- The ledger: what happened to every interchange, append-only and hash-chained, in a schema of its own.
--
-- The application's role may read, and append through one function; nobody, the owner included, may change or
-- remove an event. The chain is made here, under a lock, so that no client can write a wrong one: each event's
-- hash covers the hash before it and the event's own canonical text, which a script without a database can rebuild.

do $$
declare
    -- Before PostgreSQL 16 a member may always set the role, and there is no word for it.
    may text := case when current_setting('server_version_num')::integer >= 160000 then 'SET' else 'MEMBER' end;
begin
    -- Roles belong to the server, not to the database: another database of ours may have made them, or be at it.
    begin
        create role slussen_owner nologin;
    exception when duplicate_object or unique_violation then null;
    end;
    begin
        create role slussen login;
    exception when duplicate_object or unique_violation then null;
    end;
    -- Who migrates without being a superuser (having made the roles, it may grant them) acts for both below.
    if not pg_has_role(current_user, 'slussen_owner', may) then
        execute format('grant slussen_owner to %I', current_user);
    end if;
    if not pg_has_role(current_user, 'slussen', may) then
        execute format('grant slussen to %I', current_user);
    end if;
end
$$;

create schema ledger authorization slussen_owner;
create schema stage authorization slussen;
create schema sent authorization slussen_owner;

set role slussen_owner;

create table ledger.event (
    seq bigint primary key,
    id uuid not null unique,
    at timestamptz not null,
    stream text not null check (stream <> ''),
    nth integer not null check (nth > 0),                         -- the event's place in its stream, from 1
    integration text not null,
    kind text not null check (kind ~ '^[a-z]+$'),
    body text not null,                                          -- canonical JSON, as the hash covers it
    data jsonb not null generated always as (body::jsonb) stored, -- the same, to query
    prev bytea not null,
    hash bytea not null,
    unique (stream, nth)
);
create index on ledger.event (integration, seq) where nth = 1;    -- the list of streams: one row for each
create index on ledger.event (integration, kind, seq);
create index on ledger.event ((data ->> 'sha256')) where kind in ('collected', 'content');
comment on table ledger.event is 'One line for everything that happened to an interchange. Append-only, hash-chained.';

-- The one row that says where the chain ends; its lock puts appends in order.
create table ledger.head (one boolean primary key default true check (one), seq bigint not null, hash bytea not null);
insert into ledger.head (seq, hash) values (0, sha256('slussen'));

-- The text that a hash covers: each part with its length before it, so that no two events have the same text.
create function ledger.canonical(
    seq bigint, id uuid, at timestamptz, stream text, nth integer, integration text, kind text, body text
)
returns bytea language sql immutable set search_path = pg_catalog, pg_temp as $$
    select convert_to(string_agg(octet_length(part) || ':' || part, ',' order by n), 'UTF8')
    from unnest(array[
        seq::text, id::text, to_char(at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        stream, nth::text, integration, kind, body
    ]) with ordinality as parts (part, n)
$$;

-- Append an event. after_: the last event of the stream that the caller has seen (0: none); null: whatever is there.
-- Returns no row when another event came in between. The same id twice is one event: a commit whose reply was lost
-- is found, not doubled.
create function ledger.append(id_ uuid, stream_ text, integration_ text, kind_ text, body_ text, after_ bigint)
returns setof ledger.event language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    head ledger.head;
    last ledger.event;
    made ledger.event;
begin
    -- From here to the end of the transaction appends stand in line, so that what is read below can't change.
    select * into strict head from ledger.head for update;
    select * into made from ledger.event where id = id_;
    if found then
        if (made.stream, made.integration, made.kind, made.body) is distinct from (stream_, integration_, kind_, body_) then
            raise exception 'this id is of another event' using errcode = 'unique_violation';
        end if;
        return next made;
        return;
    end if;
    select * into last from ledger.event where stream = stream_ order by nth desc limit 1;
    if after_ is distinct from coalesce(last.seq, 0) and after_ is not null then
        return;
    end if;
    made := row(
        head.seq + 1, id_, clock_timestamp(), stream_, coalesce(last.nth, 0) + 1, integration_, kind_,
        body_, body_::jsonb, head.hash, null
    );
    made.hash := sha256(made.prev || ledger.canonical(
        made.seq, made.id, made.at, made.stream, made.nth, made.integration, made.kind, made.body
    ));
    insert into ledger.event (seq, id, at, stream, nth, integration, kind, body, prev, hash)
    values (
        made.seq, made.id, made.at, made.stream, made.nth, made.integration, made.kind, made.body, made.prev, made.hash
    );
    update ledger.head set seq = made.seq, hash = made.hash;
    return next made;
end
$$;

create function ledger.refuse() returns trigger language plpgsql as $$
begin
    raise exception 'the ledger is append-only' using errcode = 'insufficient_privilege';
end
$$;
create trigger append_only before update or delete or truncate on ledger.event
for each statement execute function ledger.refuse();
create trigger no_truncate before delete or truncate on ledger.head
for each statement execute function ledger.refuse();

-- What deliveries leave to be looked at by later ones: delta keys, and keyed hashes of customers. An index over
-- interchanges, not a proof: it may be rebuilt.
create table sent.key (
    integration text not null,
    interchange text not null,
    kind text not null check (kind in ('key', 'customer')),
    key text not null,
    primary key (integration, kind, key, interchange)
);
create index on sent.key (interchange);

reset role;

revoke all on function ledger.append from public;
grant usage on schema ledger, sent to slussen;
grant select on ledger.event, ledger.head to slussen;
grant execute on function ledger.append to slussen;
grant select, insert, delete on sent.key to slussen;
