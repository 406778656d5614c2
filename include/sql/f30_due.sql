-- Is this a night of the debiting calendar?
select exists (select from bosko.debiting_calendar, run where night = run.day)
