-- What perfkit_benchmark has wrk do: ask the paths behind `--` in turns, and tell the figures as one line of JSON.
local paths = {}
local place = 0

function init(args)
  for i = 1, #args do
    paths[i] = wrk.format("GET", args[i])
  end
end

function request()
  place = place % #paths + 1
  return paths[place]
end

function done(summary, latency)
  local line = 'perfkit {"requests": %d, "duration": %d, "p50": %.1f, "p95": %.1f, "p99": %.1f, "errors": '
    .. '{"no connection": %d, "cut off while read": %d, "cut off while sent": %d, "no answer in time": %d, '
    .. '"status 400 and above": %d}}\n'
  local errors = summary.errors
  io.write(string.format(
    line, summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(95), latency:percentile(99),
    errors.connect, errors.read, errors.write, errors.timeout, errors.status
  ))
end
