struct Base {
  virtual int value() const;
  virtual int other() const;
};
struct Derived : Base {
  int value() const override;
};
int Base::value() const { return 1; }
int Base::other() const { return 2; }
int Derived::value() const { return 3; }
Derived derived;
