// Small functions that call each other, and memory that is followed.
#include "kernel.h"

struct node {
  struct node *left, *right;
  int key;
};

static struct node *insert(struct node *tree, struct node *new) {
  if (!tree) return new;
  if (new->key < tree->key)
    tree->left = insert(tree->left, new);
  else
    tree->right = insert(tree->right, new);
  return tree;
}

static uint64_t sum(const struct node *tree, int depth) {
  return tree ? sum(tree->left, depth + 1) + (uint64_t)tree->key * depth + sum(tree->right, depth + 1) : 0;
}

static uint64_t work(void) {
  enum { COUNT = 60000 };
  struct node *nodes = calloc(COUNT, sizeof *nodes), *tree = NULL;
  uint32_t state = 7;
  for (int i = 0; i < COUNT; i++) {
    state = state * 1664525 + 1013904223;
    nodes[i].key = (int)(state >> 9);
    tree = insert(tree, &nodes[i]);
  }
  uint64_t result = sum(tree, 1);
  free(nodes);
  return result;
}
