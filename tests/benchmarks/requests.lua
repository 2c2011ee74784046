-- Nine ordinary header fields and a bearer token, one of those in the file TOKENS in turn, sent to path TARGET, or to
-- TARGET/0 up to TARGET/(COUNT-1) in turn when COUNT is not 0. With FRESH each request has a number of its own, from
-- FIRST on, with CLOSE it is the last one on its connection.
local requests, next_one, fresh, sent = {}, 0, (os.getenv("FRESH") or "") ~= "", tonumber(os.getenv("FIRST") or "0")

function init(args)
  local headers = {
    ["Accept"] = "application/json, text/plain, */*",
    ["Accept-Encoding"] = "gzip, deflate, br",
    ["Accept-Language"] = "en-GB,en;q=0.9,de;q=0.8",
    ["Cache-Control"] = "no-cache",
    ["Origin"] = "https://shop.example",
    ["Referer"] = "https://shop.example/orders",
    ["User-Agent"] = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)",
    ["X-Requested-With"] = "XMLHttpRequest",
  }
  if (os.getenv("CLOSE") or "") ~= "" then
    headers["Connection"] = "close"
  end
  local tokens, target, count = {}, os.getenv("TARGET"), tonumber(os.getenv("COUNT") or "0")
  for token in io.lines(os.getenv("TOKENS")) do
    tokens[#tokens + 1] = token
  end
  for number = 0, math.max(#tokens, count) - 1 do
    headers["Authorization"] = "Bearer " .. tokens[number % #tokens + 1]
    local path = count > 0 and target .. "/" .. number % count or target
    requests[#requests + 1] = wrk.format("GET", path, headers)
  end
end

function request()
  next_one = next_one % #requests + 1
  if fresh then
    sent = sent + 1
    return string.sub(requests[next_one], 1, -3) .. "X-Number: " .. sent .. "\r\n\r\n"
  end
  return requests[next_one]
end
