-- Closures, coroutines, metatables, strings, errors (setjmp/longjmp in the C), garbage, integers and floats.
local Point = {}
Point.__index = Point
Point.__add = function(a, b) return setmetatable({x = a.x + b.x, y = a.y + b.y}, Point) end
Point.__eq = function(a, b) return a.x == b.x and a.y == b.y end
Point.__lt = function(a, b) return a.x < b.x end
Point.__tostring = function(p) return ("(%g, %g)"):format(p.x, p.y) end
local function P(x, y) return setmetatable({x = x, y = y}, Point) end
print(P(1, 2) + P(3, 4.5), P(1, 2) == P(1, 2), P(1, 2) < P(0, 0))

local function permutations(list)
  return coroutine.wrap(function()
    local function go(n)
      if n <= 1 then coroutine.yield(table.concat(list, "")) return end
      for i = 1, n do
        list[n], list[i] = list[i], list[n]
        go(n - 1)
        list[n], list[i] = list[i], list[n]
      end
    end
    go(#list)
  end)
end
for p in permutations({"a", "b", "c"}) do io.write(p, " ") end
print()

print(pcall(error, {code = 7}) == false, select(2, pcall(error, "text", 0)))
print(select(2, xpcall(function() local t = nil; return t.field end, function(m) return "handled: " .. m:gsub("^.-:%d+: ", "") end)))
local ok, message = pcall(string.rep, "x", -1)
print(ok, #message, pcall(setmetatable, 1, {}))

print(("The quick brown fox"):gsub("%w+", string.upper))
for k, v in ("a=1, b=22, c=333"):gmatch("(%w+)=(%w+)") do io.write(k, ":", v, ";") end
print(("%5.2f|%-6s|%06d|%x|%q"):format(math.pi, "ab", 42, 255, "line\n\0end"))
print(string.pack("<i4z", 7, "abc"):byte(1, -1))
print(utf8.char(72, 228, 8364, 128512), utf8.len("häß€"))

local sorted = {}
for i = 1, 50 do sorted[i] = (i * 37) % 51 end
table.sort(sorted, function(a, b) return a > b end)
print(table.concat(sorted, ",", 1, 10), #sorted)

print(7 // 2, -7 // 2, 7 % -3, 7 / 2, 2 ^ 10, 1 << 62, math.maxinteger + 1 == math.mininteger, 0x7fp-2)
print(math.tointeger(3.0), 3 | 4, ~0, 1e308 * 10, -(0 / 0) ~= 0 / 0, math.ult(1, -1))

local weak = setmetatable({}, {__mode = "k"})
for i = 1, 1000 do weak[{}] = i end
collectgarbage()
print(next(weak), collectgarbage("count") > 0)
do
  local closed <close> = setmetatable({}, {__close = function() print("closed") end})
  goto over
  print("never")
  ::over::
end
print(load("return ...", "chunk", "t", {})(1, 2, 3), #arg, arg[1])
print(os.time({year = 2020, month = 1, day = 1, hour = 12}) > 0, os.getenv("HOME") ~= nil, io.read("n", "l", "a"))
