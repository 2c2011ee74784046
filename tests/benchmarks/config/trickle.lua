-- Each connection waits between its requests, so that latency is not a matter of how much wrk can send.
function delay()
   return math.random(2, 8)
end
