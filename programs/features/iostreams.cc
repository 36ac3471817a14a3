//# stdin: 3 4.5 word\na whole line\n
#include <algorithm>
#include <fstream>
#include <iomanip>
#include <iostream>
#include <iterator>
#include <locale>
#include <map>
#include <sstream>
#include <string>
#include <vector>
struct Point { int x, y; };
std::ostream &operator<<(std::ostream &out, const Point &p) { return out << '(' << p.x << ", " << p.y << ')'; }
int main() {
  int i;
  double d;
  std::string word, line;
  std::cin >> i >> d >> word;
  std::getline(std::cin >> std::ws, line);
  std::cout << i << ' ' << d << ' ' << word << " [" << line << "] " << std::cin.good() << '\n';
  std::cout << std::hex << std::showbase << 255 << std::dec << ' ' << std::setw(8) << std::setfill('*') << 42 << ' ' << std::fixed
            << std::setprecision(3) << 3.14159 << ' ' << std::boolalpha << true << ' ' << Point{1, 2} << std::endl;
  std::istringstream in("b=2 a=1 c=3");
  std::map<std::string, int> map;
  for (std::string item; in >> item;) map[item.substr(0, 1)] = std::stoi(item.substr(2));
  for (auto &[k, v] : map) std::cout << k << v << ' ';
  std::vector<int> v{3, 1, 2};
  std::sort(v.begin(), v.end());
  std::copy(v.begin(), v.end(), std::ostream_iterator<int>(std::cout, ","));
  std::cout << std::scientific << 12345.678 << '\n';
  std::ifstream missing("/nonexistent");
  std::cout << missing.is_open() << ' ' << (std::cin >> i).fail() << '\n';
  return 0;
}
