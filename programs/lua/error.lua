local function inner() error("out of luck") end
local function outer() inner() end
print("before")
outer()
