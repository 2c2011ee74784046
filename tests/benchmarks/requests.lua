-- Nine ordinary header fields and a bearer token, one of those in the file TOKENS in turn, sent to path TARGET.
local requests, next_one = {}, 0

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
  for token in io.lines(os.getenv("TOKENS")) do
    headers["Authorization"] = "Bearer " .. token
    requests[#requests + 1] = wrk.format("GET", os.getenv("TARGET"), headers)
  end
end

function request()
  next_one = next_one % #requests + 1
  return requests[next_one]
end
