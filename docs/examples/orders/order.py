"""What all the others pass around."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Order:
    """One order as it came in: text, of which nobody has asked yet whether it makes sense."""

    id: str
    item: str
    quantity: str
    price: str

    @classmethod
    def parse(cls, line):
        fields = line.strip().split(",")
        if len(fields) != 4 or not all(fields) or not line.strip().isprintable():
            raise ValueError("send one order per line: id,item,quantity,price")
        return cls(*fields)

    def cents(self):
        try:
            return int(self.quantity) * round(float(self.price) * 100)
        except (ValueError, OverflowError):
            raise ValueError(f"bad order {self.id}: {self.quantity} at {self.price}") from None
