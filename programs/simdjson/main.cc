// Reads a JSON file by each implementation of simdjson that the processor supports, and a text that is made here: what
// differs between them shows. Ends with 1 where the file is no JSON.
#include "simdjson.h"

#include <cstdint>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>

using namespace simdjson;

static std::string records(int count) {
  std::string text = "[";
  for (int i = 0; i < count; i++) {
    if (i) text += ",";
    text += "{\"id\":" + std::to_string(i) + ",\"weight\":" + std::to_string(i * 0.37) + ",\"label\":\"no. \\u00e9\\n" +
            std::to_string(i * i) + "\",\"list\":[true,false,null," + std::to_string(-i) + ",1.5e" + std::to_string(i % 30) + "]}";
  }
  return text + "]";
}

static void show(dom::element element, int depth) {
  switch (element.type()) {
  case dom::element_type::OBJECT:
    for (auto field : dom::object(element)) {
      std::printf("%*s%.*s:\n", depth, "", int(field.key.size()), field.key.data());
      show(field.value, depth + 1);
    }
    break;
  case dom::element_type::ARRAY:
    for (dom::element item : dom::array(element)) show(item, depth + 1);
    break;
  case dom::element_type::STRING: {
    std::string_view text = element;
    std::printf("%*s%zu characters: %.*s\n", depth, "", text.size(), int(text.size()), text.data());
    break;
  }
  case dom::element_type::DOUBLE: std::printf("%*s%.17g\n", depth, "", double(element)); break;
  case dom::element_type::INT64: std::printf("%*s%lld\n", depth, "", (long long)int64_t(element)); break;
  case dom::element_type::UINT64: std::printf("%*s%llu\n", depth, "", (unsigned long long)uint64_t(element)); break;
  default: std::printf("%*s%s\n", depth, "", minify(element).c_str());
  }
}

/// Sums over the records, from a tree and while reading.
static void sums(const std::string &text) {
  dom::parser parser;
  dom::element tree = parser.parse(text);
  double weight = 0;
  size_t characters = 0;
  int64_t negatives = 0;
  for (dom::object record : tree.get_array()) {
    weight += double(record["weight"]);
    characters += std::string_view(record["label"]).size();
    negatives += int64_t(record["list"].at(3));
  }
  std::printf("%zu %.3f %zu %lld %s\n", tree.get_array().size(), weight, characters, (long long)negatives,
              minify(tree.at(7)).c_str());
  ondemand::parser reader;
  padded_string padded(text);
  weight = 0;
  ondemand::document document = reader.iterate(padded);
  for (ondemand::object record : document.get_array()) {
    weight += double(record["weight"]);
    for (auto item : record["list"].get_array()) negatives += item.type() == ondemand::json_type::number;
  }
  std::printf("%.3f %lld\n", weight, (long long)negatives);
}

int main(int argc, char **argv) {
  std::ifstream file(argc > 1 ? argv[1] : "");
  std::string given{std::istreambuf_iterator<char>(file), {}};
  std::string made = records(300);
  int status = 0;
  for (auto implementation : get_available_implementations()) {
    if (!implementation->supported_by_runtime_system()) continue;
    get_active_implementation() = implementation;
    std::printf("%s\n", std::string(implementation->name()).c_str());
    try {
      dom::parser parser;
      show(parser.parse(given), 0);
    } catch (const simdjson_error &error) {
      std::printf("error %d: %s\n", int(error.error()), error.what());
      status = 1;
    }
    sums(made);
    std::string broken = made;
    broken[broken.size() / 2] = '\x01';
    dom::parser parser;
    dom::element tree;
    std::printf("%s\n", error_message(parser.parse(broken).get(tree)));
    for (std::string text : {"na\xc3\xafve", "\xc3\x28", "\xed\xa0\x80"}) {
      std::printf("%d%d ", validate_utf8(text), validate_utf8(std::string(100, 'x') + text));
    }
    std::printf("\n");
  }
  return status;
}
