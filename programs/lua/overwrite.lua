-- Writes over the file named by its argument, then does what it has not done before.
local file = assert(io.open(arg[1], "w"))
file:write("no program any more")
file:close()
print(string.rep("x", 3), table.concat({ 1, 2, 3 }, ","), string.format("%5.2f %q", math.pi, "a\nb"))
for word in string.gmatch("a b c", "%a") do io.write(word, ";") end
print(pcall(error, "caught"), select("#", table.unpack({ 1, 2, 3 })), utf8.char(955), 7 // 2, 2 ^ 0.5)
local sorted = { 5, 3, 9, 1 }
table.sort(sorted, function(a, b) return a > b end)
print(table.concat(sorted, " "), os.time { year = 2020, month = 1, day = 1, hour = 12 } > 0, #string.pack("<i8z", 5, "z"))
local routine = coroutine.wrap(function(...) for _, n in ipairs({ ... }) do coroutine.yield(n) end end)
print(routine(4, 5), routine(), load("return 1 + 1")())
