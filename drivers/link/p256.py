"""The curve P-256 on big integers alone: products, compressed points, and the check of an ECDSA signature.

A point is (x, y), two integers; a scalar lies in 1 to N - 1. Products run through one ladder of doublings, fed from a
comb (many teeth, few doublings) or from signed windows of four bits. Not constant-time: use a private key seldom.
Refuses what is no point of the curve with CurveError. Source: SEC 1 v2 (points, ECDSA), FIPS 186-5; formulas for
Jacobian coordinates with a = -3: the Explicit-Formulas Database, dbl-2001-b and madd.
"""

from drivers.constant import const

P = 0xFFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFF
N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_B = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B
_BITS = const(256)
_TEETH = const(4)  # of a comb made for two products of one point
_WINDOW = const(4)


class CurveError(Exception):
    """Bytes that are no point, scalar or signature of this curve."""


def lift(x, parity=0):
    """Return the point with this x whose y is even or odd as `parity` says. Raises CurveError if there is none."""
    if not 0 <= x < P:
        raise CurveError("x is not below p")
    square = (x * x % P * x - 3 * x + _B) % P
    y = pow(square, (P + 1) >> 2, P)
    if y * y % P != square:
        raise CurveError("no such point")
    return x, y if y & 1 == parity else P - y


def decompress(octets):
    """Return the point of 33 bytes. Raises CurveError."""
    if len(octets) != 33 or octets[0] >> 1 != 1:
        raise CurveError("not a compressed point")
    return lift(int.from_bytes(octets[1:], "big"), octets[0] & 1)


def compress(point):
    """Return the 33 bytes of a point."""
    return bytes([2 | point[1] & 1]) + to_octets(point[0])


def to_octets(number):
    """32 bytes, big-endian."""
    return number.to_bytes(32, "big")


def scalar(octets):
    """Return 32 bytes as a scalar. Raises CurveError if it is 0 or not below N: draw others."""
    number = int.from_bytes(octets, "big")
    if len(octets) != 32 or not 0 < number < N:
        raise CurveError("no scalar of this curve")
    return number


def total(bits, feed):
    """Return the point that one feed of so many bits adds up to."""
    return _affine([_ladder(bits, feed)])[0]


def multiply(point, factor):
    """Return factor x point."""
    return total(_BITS + 1, Windows(point, factor))


def multiply_by_both(point, first, second):
    """Return first x point and second x point, at a quarter less than two products: they share a comb."""
    spacing = _BITS // _TEETH
    table = _comb_table(point, spacing)
    combs = [Comb(lambda teeth: unpacked(table[teeth - 1]), spacing, _TEETH, factor) for factor in (first, second)]
    return _affine([_ladder(spacing, comb) for comb in combs])


def is_signed(public, digest, signature, base):
    """Whether `signature` (r and s, 64 bytes) of a SHA-256 `digest` was made with the private key of `public`.

    base  returns what feeds a multiple of the generator: p256_base.Base
    """
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    if len(signature) != 64 or not (0 < r < N and 0 < s < N):
        return False
    inverse = pow(s, N - 2, N)
    feeds = [Windows(public, r * inverse % N)]
    u1 = int.from_bytes(digest, "big") * inverse % N
    if u1:
        feeds.append(base(u1))
    sum_ = _ladder(_BITS + 1, *feeds)
    return bool(sum_[2]) and _affine([sum_])[0][0] % N == r


class Comb:
    """Feeds the ladder from a table of the sums of point x 2^(spacing x tooth), for each set of teeth."""

    def __init__(self, entry, spacing, teeth, factor):
        """`entry(teeth)` returns the point of a set of teeth, a bit each."""
        self._entry = entry
        self._factor = factor
        self._shifts = [spacing * tooth for tooth in range(teeth)]
        self._spacing = spacing

    def at(self, bit):
        """The point to add before the doubling below `bit`; None if there is none."""
        if bit >= self._spacing:
            return None
        teeth = 0
        for tooth, shift in enumerate(self._shifts):
            teeth |= (self._factor >> (shift + bit) & 1) << tooth
        return self._entry(teeth) if teeth else None


class Windows:
    """Feeds the ladder with odd multiples of a point, at the non-zero digits of the factor's signed form."""

    def __init__(self, point, factor):
        self._odd = _odd_multiples(point)
        self._digits = _signed_digits(factor)

    def at(self, bit):
        digit = self._digits[bit]
        if digit == 0:
            return None
        if digit < 128:
            return unpacked(self._odd[digit >> 1])
        x, y = unpacked(self._odd[(256 - digit) >> 1])
        return x, P - y


def _ladder(bits, *feeds):
    """Double and add from the highest bit on. Returns (X, Y, Z), where Z = 0 is the point at infinity."""
    sum_ = 0, 0, 0
    for bit in range(bits - 1, -1, -1):
        if sum_[2]:
            sum_ = _double(sum_)
        for feed in feeds:
            point = feed.at(bit)
            if point is not None:
                sum_ = _add(sum_, point)
    return sum_


def _double(point):
    """8 products modulo P."""
    x, y, z = point
    delta = z * z % P
    gamma = y * y % P
    beta = x * gamma % P
    alpha = 3 * ((x - delta) * (x + delta) % P)
    x3 = (alpha * alpha - 8 * beta) % P
    return x3, (alpha * (4 * beta - x3) - 8 * (gamma * gamma % P)) % P, 2 * y * z % P


def _add(point, affine):
    """A Jacobian and an affine point: 11 products modulo P."""
    x, y, z = point
    x2, y2 = affine
    if not z:
        return x2, y2, 1
    zz = z * z % P
    h = (x2 * zz - x) % P
    r = (y2 * (z * zz % P) - y) % P
    if not h:
        return _double(point) if not r else (0, 0, 0)
    hh = h * h % P
    hhh = h * hh % P
    v = x * hh % P
    x3 = (r * r - hhh - 2 * v) % P
    return x3, (r * (v - x3) - y * hhh) % P, z * h % P


def _affine(points):
    """Turn Jacobian points, none at infinity, into affine ones in their place: one inversion for all. Returns them."""
    products = [1]
    for _, _, z in points:
        products.append(products[-1] * z % P)
    product = products.pop()
    if not product:
        raise CurveError("the point at infinity")
    inverse = pow(product, P - 2, P)
    for at in range(len(points) - 1, -1, -1):
        x, y, z = points[at]
        own = inverse * products.pop() % P
        inverse = inverse * z % P
        square = own * own % P
        points[at] = x * square % P, y * (own * square % P) % P
    return points


def _packed(points):
    """Points as 64 bytes each: a third of what they take as integers, which keep the room of a product."""
    _affine(points)
    for at, (x, y) in enumerate(points):
        points[at] = to_octets(x) + to_octets(y)
    return points


def unpacked(octets):
    """The point in 64 bytes."""
    return int.from_bytes(octets[:32], "big"), int.from_bytes(octets[32:], "big")


def _odd_multiples(point):
    """1, 3, 5 and 7 times the point: on the isomorphic curve where twice the point has Z = 1, and then back."""
    x2, y2, z2 = _double((point[0], point[1], 1))
    square = z2 * z2 % P
    step = x2, y2
    multiples = [(point[0] * square % P, point[1] * (square * z2 % P) % P, 1)]
    for _ in range((1 << (_WINDOW - 2)) - 1):
        multiples.append(_add(multiples[-1], step))
    return _packed([(x, y, z * z2 % P) for x, y, z in multiples])


def _signed_digits(factor):
    """Digits of 0 or odd from -7 to 7 as bytes (negative ones + 256), lowest first, _BITS + 1 of them."""
    digits = bytearray(_BITS + 1)
    at = 0
    while factor:
        if factor & 1:
            digit = factor & 15
            if digit > 7:
                digit -= 16
            factor -= digit
            digits[at] = digit & 0xFF
        factor >>= 1
        at += 1
    return digits


def _comb_table(point, spacing):
    """The points that Comb wants for _TEETH teeth, from the set {first} on; tooth by tooth, as memory is short."""
    table = []
    tooth = point
    for number in range(_TEETH):
        if number:
            doubled = tooth[0], tooth[1], 1
            for _ in range(spacing):
                doubled = _double(doubled)
            tooth = _affine([doubled])[0]
        sums = [(tooth[0], tooth[1], 1)]
        for octets in table:
            x, y = unpacked(octets)
            sums.append(_add((x, y, 1), tooth))
        table.extend(_packed(sums))
    return table
