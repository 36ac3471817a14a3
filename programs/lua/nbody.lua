local steps = tonumber(arg[1] or 2000)
local bodies = {}
for i = 1, 5 do bodies[i] = {i * 1.0, i * 0.7, -i * 0.3, 0.02 / i, -0.01 * i, 0.004 * i, 1 / (i * i)} end
for _ = 1, steps do
  for i = 1, 4 do
    local a = bodies[i]
    for j = i + 1, 5 do
      local b = bodies[j]
      local dx, dy, dz = a[1] - b[1], a[2] - b[2], a[3] - b[3]
      local d2 = dx * dx + dy * dy + dz * dz + 0.02
      local pull = 0.001 / (d2 * math.sqrt(d2))
      a[4], a[5], a[6] = a[4] - dx * b[7] * pull, a[5] - dy * b[7] * pull, a[6] - dz * b[7] * pull
      b[4], b[5], b[6] = b[4] + dx * a[7] * pull, b[5] + dy * a[7] * pull, b[6] + dz * a[7] * pull
    end
  end
  for _, b in ipairs(bodies) do
    b[1], b[2], b[3] = b[1] + 0.001 * b[4], b[2] + 0.001 * b[5], b[3] + 0.001 * b[6]
  end
end
print(("%.9f %.9f"):format(bodies[1][1], bodies[5][6]))
