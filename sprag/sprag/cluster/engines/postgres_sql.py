"""What PostgreSQL is asked, each in one statement: what it answers was so at one moment.

$1 is the app. Each answer begins with the same five columns: the system's identifier, the timeline
(a standby that was promoted has another), what the store is called, the clock, and how far the log
was written: a server whose log has become shorter was put back to what it was before.
"""

from __future__ import annotations

from typing import Final

TABLES: Final = """\
create table if not exists sprag_rows (
  app text collate "C" not null,
  key text collate "C" not null,
  value bytea not null,
  primary key (app, key)
) with (fillfactor = 70);
create table if not exists sprag_topics (
  app text collate "C" not null,
  topic text collate "C" not null,
  last bigint not null,
  number bigint not null,
  primary key (app, topic)
) with (fillfactor = 70);
create table if not exists sprag_events (
  app text collate "C" not null,
  topic text collate "C" not null,
  id bigint not null,
  number bigint not null,
  data bytea not null,
  primary key (app, topic, id)
);
"""

LOCK: Final = 7_886_482_170_223
"""What two that make tables at once wait for; with another second number, who publishes."""
INIT: Final = f"begin;\nselect pg_advisory_xact_lock({LOCK});\n{TABLES}commit;\n"

_HEAD: Final = """head as materialized (
  select (select system_identifier::text from pg_control_system()) as system,
    substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8) as timeline,
    (select value from sprag_rows where app = $1 and key = '@identity') as token,
    floor(extract(epoch from clock_timestamp()) * 1000)::bigint::text as now,
    (pg_current_wal_flush_lsn() - '0/0')::text as height
)"""
_SYNCHRONOUS: Final = """set_config('synchronous_commit', case
    current_setting('synchronous_commit') when 'remote_apply' then 'remote_apply' else 'on'
  end, true)"""
"""For the transaction that is this statement, as a pooler may give the next one another session."""

BEGUN: Final = """select pg_backend_pid()::text, current_setting('transaction_read_only'),
  to_regclass('sprag_events')::text"""
"""A standby is read-only, and so is a primary that is about to be none."""
SESSION: Final = """set default_transaction_isolation = 'read committed';
  set synchronous_commit = on; set statement_timeout = {}"""

NAMED: Final = """insert into sprag_rows (app, key, value) values ($1, '@identity', $2)
  on conflict (app, key) do update set value = case sprag_rows.value
    when $3 then excluded.value else sprag_rows.value end
  returning value"""
"""Call the store $2, unless it is called something else than $3 by now."""

GET: Final = f"""with {_HEAD}
select head.*, (select value from sprag_rows where app = $1 and key = $2) from head"""

SCAN: Final = f"""with {_HEAD}
select head.*, key, value from head left join sprag_rows
  on app = $1 and starts_with(key, $2) and not starts_with(key, '@')"""


def _cas(change: str) -> str:
    return f"""with done as ({change} returning 1), {_HEAD}
select head.*, (select count(*)::text from done), {_SYNCHRONOUS} from head"""


CREATE: Final = _cas(
    "insert into sprag_rows (app, key, value) values ($1, $2, $3) on conflict do nothing"
)
UPDATE: Final = _cas("update sprag_rows set value = $4 where app = $1 and key = $2 and value = $3")
DELETE: Final = _cas("delete from sprag_rows where app = $1 and key = $2 and value = $3")
NOTIFY: Final = """select pg_notify($1, $2)::text,
  set_config('synchronous_commit', 'off', true)"""
"""After a swap, in a transaction of its own: those that notify are committed one by one. That one
need not wait for the disk, and those that swap may wait for it together."""
ABSENT: Final = f"""with {_HEAD}
select head.*, (select count(*)::text from sprag_rows where app = $1 and key = $2) from head"""

PUBLISH: Final = f"""with locked as materialized (
  select pg_advisory_xact_lock(hashtextextended($1 || ' ' || $2, {LOCK}))
), topic as (
  insert into sprag_topics (app, topic, last, number)
  select $1, $2, floor(extract(epoch from clock_timestamp()) * 1000000)::bigint, 1 from locked
  on conflict (app, topic) do update set
    last = greatest(sprag_topics.last + 1, excluded.last), number = sprag_topics.number + 1
  returning last, number
), event as (
  insert into sprag_events (app, topic, id, number, data)
  select $1, $2, last, number, $4 from topic returning 1
), gone as (
  delete from sprag_events using topic where app = $1 and sprag_events.topic = $2
    and (id < last - $6::bigint * 1000 or sprag_events.number <= topic.number - $5::bigint)
    and id in (
      select id from sprag_events where app = $1 and sprag_events.topic = $2 order by id limit 4
    )
), {_HEAD}
select head.*, {_SYNCHRONOUS}, (select pg_notify($3, $2)::text from event) from head"""
"""In the order of its ids: who publishes next waits until this is there for all to be read."""

READ: Final = f"""with {_HEAD}, topic as (
  select last, number from sprag_topics where app = $1 and topic = $2
), page as (
  select id, number, data, sum(length(data)) over (order by id) - length(data) as before from (
    select id, number, data from sprag_events
    where app = $1 and topic = $2 and id > $3::bigint order by id limit $4::bigint
  ) as next
)
select head.*, (select last::text from topic), (select number::text from topic),
  page.id::text, page.number::text, page.data
  from head left join page on before < $5::bigint order by page.id"""

CHANGED: Final = """select key, xmin::text from sprag_rows where app = $1
  union all select topic, last::text from sprag_topics where app = $1"""

JUDGED: Final = """select current_setting('server_version_num'), current_setting('fsync'),
  current_setting('synchronous_standby_names'),
  (select count(*)::text from pg_stat_replication where coalesce(state, '') <> 'backup')"""
