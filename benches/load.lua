-- What benches/http.rs has wrk send: the paths that are given, one after another. With PATINA_BENCH_PAUSE_MS each
-- connection pauses so long before each request, on average.

local paths, sent = {}, 0
local pause_ms = tonumber(os.getenv("PATINA_BENCH_PAUSE_MS"))

function init(args)
  paths = args
  math.randomseed(os.time())
end

if pause_ms then
  function delay()
    return math.random(0, 2 * pause_ms)
  end
end

function request()
  sent = sent + 1
  return wrk.format("GET", paths[sent % #paths + 1])
end

-- Requests, microseconds, the median and the 99th percentile in microseconds, and how many went wrong.
function done(summary, latency)
  local errors = summary.errors
  local wrong = errors.connect + errors.read + errors.write + errors.timeout + errors.status
  io.write(string.format("measured %d %d %d %d %d\n", summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(99), wrong))
end
