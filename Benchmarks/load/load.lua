-- A script for wrk that sends the requests of a file, with "METHOD path" or "METHOD path body" on each line.
--
--   wrk … -s load.lua http://127.0.0.1:8080 -- FILE THREADS
local threadCount = 0
local requests, step = {}, 0

function setup(thread)
  thread:set("id", threadCount)
  threadCount = threadCount + 1
end

-- Every thread sends different lines, so that each link is used once. The requests are formatted before the measurement.
function init(args)
  local threads, number = tonumber(args[2]), 0
  for line in io.lines(args[1]) do
    if number % threads == id then
      local method, path, body = line:match("^(%S+) (%S+) ?(.*)$")
      if body == "" then
        requests[#requests + 1] = wrk.format(method, path)
      else
        requests[#requests + 1] = wrk.format(method, path, {["Content-Type"] = "application/json"}, body)
      end
    end
    number = number + 1
  end
end

function request()
  step = step % #requests + 1
  return requests[step]
end
