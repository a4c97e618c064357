-- wrk: each thread asks for one order, and every answer must be that order.
-- What the counter has seen may be any number: it crashes, and begins again.

wanted, wrong = "", 0

function init(arguments)
  wanted = arguments[1]
end

function response(status, headers, body)
  local start, rest = body:sub(1, #wanted), body:sub(#wanted + 1)
  if status ~= 200 or start ~= wanted or not rest:match('^, "seen": %d+}$') then
    wrong = wrong + 1
  end
end

threads = {}

function setup(thread)
  table.insert(threads, thread)
end

function done(summary, latency, requests)
  local wrongs = 0
  for _, thread in ipairs(threads) do
    wrongs = wrongs + thread:get("wrong")
  end
  local errors = summary.errors
  io.stderr:write(string.format(
    '{"answered": %d, "seconds": %f, "wrong": %d, "lost": %d, "p99_ms": %f}\n',
    summary.requests, summary.duration / 1e6, wrongs,
    errors.connect + errors.read + errors.write + errors.timeout,
    latency:percentile(99) / 1e3))
end
