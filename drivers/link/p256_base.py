"""Multiples of the generator of P-256: its comb of six teeth, 43 bits apart, as a table for key pairs and signatures.

Entry n (from 1) is 64 bytes, x and y, of the sum of G x 2^(43 x tooth) over the bits set in n, in base64. In flash
it costs nothing; computed on the node it would double the heap that a join needs. A test computes it anew.
"""

from binascii import a2b_base64

from drivers.constant import const
from drivers.link.p256 import Comb, product

_SPACING = const(43)
_TEETH = const(6)
_ENTRY_LEN = const(88)
_ENTRIES = (
    b"axfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpZP40Li/hp/m47n60p8D54WK84zV2sxXs7LtkBoN79R9Q=="
    b"mH8lbVjP+Tc75xlp/DqTAej5JXrlf9wAzQE/iLBJ582OkmlWlOxQXOhg69YAB+OeR7RgUgeq/9u3JUu8bvo11g=="
    b"78wsQ27Rsq8t8cQe0rwvppizziq/MY6yWdsWfFocP7HzaE+cjZ84Y6U4SnftNPVDRoJFMzc0pYkX/gfxl7JVEw=="
    b"buyVZw1UZQzBS2bdAkNok//cZ5QtZmgX/cc+g794DCwUu1NQmXcywvwoHeBl6gEFeatmFToH/4kInsGh7b/NMg=="
    b"E8zKNFX6Yly/Zk0vCZwgK0EL7CjKFnCZrskCZHMYGI5LW6Wlr0aJPekERrH7IWpea2R1IWzbDXGqhMIxBUIcDA=="
    b"+GqQeJgDMPWrg5oU5OCf0t3/wiKhcX+KrKL6CEhixdsgNH0MJWhlPLomErj/mgk7913M+upu/ZhokPJMwd19zA=="
    b"D3Q0KkDn5+e24odAv+gPi1WRyOsw9s2k07IoCcvbHHhTHAsA9cHsB29Y8CqdmU4uZcXFgfXhe17Slo6HNRxR8g=="
    b"omORm0lFodRHUB8qPAgEw4Avd56n9oA66wQhIRprZl6HMgC9Ku0g/C6dPJ3mDWDFrD+D30wA7+Ke5AQAMLzc+w=="
    b"J9ZFHsQC4FC6qSgUiLRRJw9QNilafocNK1LEfYshqlEqWPpeG+nlg12RdAzN7vVmzeuYKQ9BUMdcluwUVWdDLQ=="
    b"eFt+kQmQTj9clx3bFOIoD4m/Uikkf94l2BQt/1eIwPZrRAWd+j6jLZa4T1fHl74wh4lEDkzik91EXkUZLn5vCw=="
    b"3JDZdaK9DtjAuezS4QTprC1+1HS43VgTc7fFUCGVqXnIfOIygVN0xEz9Mnfwl3owUNVUu8Ad/eiftVIDTdbrLg=="
    b"vdwjrFwwEne5X5Gz9VJkHhxlBYcItJsv5LVBts+aPKl9DKlCWwT3YXOhyPVOSO/ewAPcw4RQz6JRnQcABNq6Qw=="
    b"r7GNL61rIl8RIyHrKfAoeE/Tr8l12sVMy03DWxcDQG1e2BwQ/MpIdzGo1mMiII/7loiXVfa5bC/d9YJz8XdqZw=="
    b"7W4T4DiS3cUQ6xlKAVohGw1Ztq4cSrI2/w4fNOg0o8QC8yLlgNmozM3ozXphnOy6bw+/RFRAJqmsiN8E+z9njQ=="
    b"Rg+pzyNB9JkvsyAjZRGzcIl+h71CUfW3LcYeGzNqr0AY1vY6QXdeYp1ZIm6Ankoak34SP0QVdDQD5jt5y68Bpw=="
    b"RaURyX9gi/dtvEGJ2ZHs5hjEUrG0KmJ/PNX05KmqUt9zvg7Hc+qbbT/jM3/LYlrSWpGbJ9IpVc57Ur0SEl7BbA=="
    b"32tHL7UqzSUZdbcey+SQ0nG5p+XU7CUQxuS20AFkduq0JjnhqI/VkzyaEzcbtREZzMews7h9OZ7xc4cWeEBV6w=="
    b"2UnKoiTODpT0z4eXcglmOK/N0sq1CkczhqONVMIZwgtnPtUAV9uSTWIqvH+NVJVnAO9bqcmE3kZnhmSulvmuEw=="
    b"/8t93KViHGPxHrCndgIsOKEP0Nkp+g35QelCBiC01pfTmFEpWpx3joYt516Qfz+FjZ/BAr0sGZ4k43sbCSeWWg=="
    b"T7blYkH0K/baJOsLZk7BnAVE3oGpOUQKSNY3SLVrxFGpIyd2TW2R2G+V9fK84tQYpBI5JNJb1BshssgOZrtdaw=="
    b"V6RiV6hqkRYKiWEyRZ9wtAO31SOK/GlqVGoI5/EZuMx8SxJ9ZiHsERo8VlJDeFDW9OYfQHR5XG36pW/vuzFMZQ=="
    b"fEj2DfzXmMq3tnsCEhcz+mHkTaAf873cbdJeJug8+jWoqUeoqAHobhWL8vZCbRUWk7fy+4yuM7skTSNKCQ9RVA=="
    b"FYJi+zW39gZ3kes2/vr79br2R+N9N6Lx9B4DB1bIgV5MKBqjyY5iSuW+XnA/hSiPbHzUzjYbR4D2wyJVMtzp5Q=="
    b"b9P1TV8tZDu1wFEnT1q1t8eLomM36leinX90nn/ViuUKX9CYZPSXmIf3C+mCmUIfxS0dJHGyiYc0KOMRIRa4zg=="
    b"v8SZNEu/XPTudIpv4259ZEvt0Hy5YAjxWykR3U1qPe8nQ66K7VGqQPoBqpSViiSPImOfh0iRmQJVxvYtjnR1Dw=="
    b"jkx7EL5tbbqnINTGryv/TMlzYFGnYt63deppy+dsy8C1sJz2cXpTQNMhxaYmhfAYg0y/H6H+heyvXA7+LxKEMw=="
    b"Dz8p/0iPcwyLzh+rkbV39YwANhLOQTJlnN2oIYbreBUI8A6lgTgplmsVZKRM5XYbGpaZ4q7L9GfrsIBj5pYNVQ=="
    b"kSXK7fofhku6kibDRkQtAOKMSIrozYaPbBDN0pa/jqX0klveB7xrYNm4USPlNTBEEtxVN2jb5YzzO9ZuLiG0rw=="
    b"ueFW0B1Xwd6UHjPDgSbIxNKntbra3YDuDRf/OXBRSiFQaraqRSFCw0UAVqs9yWNWaiqkYgIC864iDVAN6oEFrQ=="
    b"k7q1kHnIJjl9X7MrBAB3E3se2D0Qpfug4MsQKRsg1Zk2q6k14wJuLI8nc4ip96Pro1kjMzVRJUqXf6WmSbl9nQ=="
    b"qhRMghMsJhTb8rGJ9/VbHwVlB2givrVn8ZdzW8BRMc3B2J/jkjc5uAGhTRiER0P6sc5ysv/Qr770HL4Us4IiUQ=="
    b"KAAEOtoJguIt22w93H9D1TcZqLZrsZvm8PZ58Qt5hH0PmRdGZ+gpCbbAeWWEpNw7qHBY27hROun+WwCDkI2e2g=="
    b"sgNc+HoVLCsYzIDxQpGGfljpA9vaUiQiEkFqXF8/W4DxLzWcdJaA3mA+HcWKFOSTv+AlaK+XxbBxElaRlcgO3g=="
    b"mYzV+dtr35ZqXqWoV+oSD2p1p2hvf8UCHKqwumqitJ0yVqige32fs2v8Fwe8OJ7zvheOVCXANyPS17pMRnGEqQ=="
    b"kOp3Z4S/YS2JAKqx5xJpOkZRpNxZXpoxQEKdG/6newzRoyHTEB6G9HV1RGJbp7ah9Vg7zPtNWU+90QQlDQLytg=="
    b"oD4dUgo/LKi0spOb5rCwGube/6DwuYkoei8QslrAs9vqGtIv67guCm8p1vTyOwC76DYpCNMPo/n8d5UxLL6tJA=="
    b"pmUD9aB9mJPmThm/hlZyq6VwIxl8WGJlaJCybOYtoGmtumDsMgr8YBdp/Kfhex0pO66EfX1xAL7k3rfAIf5HQw=="
    b"lD3jt2dAooQO5mCmCa/SW5E1/I357IXedIFOHImAbhmvo7Zf5CVKfiF/t3lxNFgapSTG1tTEhujboDJ/YiIn2Q=="
    b"vpz1ltsnH81E74vgOLaOGLJrSpiuj8UIo8nWFMTkgVih8zXlZsZ+ikt3KoykE59Zc9vm/5ueTQpze2U+jm+VrQ=="
    b"dYjffyPAlWdBmbZZAGaehfP2XcHIKXtHCr+j7i0AcVu7A1ekbVvwOzNhucA7q7xyoIRNNICZqPyr32L6ho0yJw=="
    b"WmGihsNJma6xtKLQBQ4g3yQ8T+2M4wBDwLFh+/d88VLoz6qtoTgNOAPG3zEe2Rrol1vKffLCYf6Me69ocCFOtw=="
    b"AEVsXIRkLdStgPA1+L52tK5c4DjC7E5WprzITQFvYTz9ObDykdZciKhclrhWxoTje/Czq2jQoXAO9wef3jZIyA=="
    b"LStCc+CEf32vH5xtSs+NQme6hoaJ+KLBx54xeJZtKN036usQHuTqSXNDiiZEzHGulcsQ/ZOD57UdnhqQaRMM7A=="
    b"8RoRPtihtfg89qHNSKNem/EjXwha5lmOKmdbVGIMdntkoaZtHxL7tjxzB6CCc2BnP4O9B7anPZukAZhdF0Kohw=="
    b"F76cLeQPr0iFK+QgLOMemlbWbbTHseoaHBK1y9hKN95pFL+UP9vml9jMbobnW4HAH42dgDSxCT5zWzzLOMyHlw=="
    b"gmbi/tW6sTPKSrdQjgpqKH9flhCNqzk2QiYYyQzPOYEInP1oKHF4zgpbGUtn+0YtqR7a612ZTYb6p1Rbq1UA9g=="
    b"rvhBaX9xDeQlb+Hr0ElPlFmYjvMALVcHVLRNMwCxbzV1uLD6Fg6P/xVRNl5kLPbdrsnarr+gsVzKOPsfi9SWBA=="
    b"fedFShzEfauNceq6eGqs6+oX9YAxfGHxskZgJwH+6jUiNA/s6MhfhZpX5D9CstRB4izFm7mrB5wQtp1i/xsSZg=="
    b"WJP2+T+YpQiTQ2I25NZaAx34e6PmnUXuYDPRE+2rnLkm5HG81Ok4TegwERggDE+4Mnf/DWvHNl6zgy4VqtVPqw=="
    b"7nQAuueHOiV3tAq9Uau3Q/pJQzTzVmnKHB3ZGmjCjzkZbBukyuntgX5PuWwb6LZ9ipDRPz2oeFrxXZv17SMJ2Q=="
    b"Q+M5J8bp5j8EFmeY824NkmaVgkP1o0tkMnbFpMUkJ9jiENqkKEEwQ4Beoh5ZUeE7Q7ic3gr1DdiJmu128MqNKw=="
    b"XqWaCTGIunjJX+I9VMX5JV684f9N+ihe4X9ie5ihdPy5lMpC0UKTHcUbVpJPxHdiN75KHl2wPZVmFbtULS2BYw=="
    b"HLpiV/DxbtC/Afs4aGk0ybM98a3gcKDJzkahZQdYA1tK3h+OiR12WBSIdw2lwhWx2CQpoUprONrlOKm27pNAnA=="
    b"/hpjdbztcm4KpMTD+hyXobFPSmB75DPtv5PNqFGgMQXmsuhyP7fMN2dwA+z2q9/0CPuWIuvzevRNtoKHBAnDBA=="
    b"p7tC9YVbsgkNM8uAo2K5zl3xGjOhBWc6/nArSyet5j8sqi2uifeiq6MyP/W7also/w4I1yNR3sb9zGCWyV/ldQ=="
    b"GHgY7DEh29X7zVoJ2D8swkU8Mz7blz3cJSVmtlH/ibvuBWUNCuDI19WasAuwmZH6QjFGI1X3U+CuobRfO0a5SQ=="
    b"5ttsyt4MkPbDNJw9ryT3bG4Edo77d15BIJbWdi2n60nrkP48ZUv3NTdoDwQCEDSyhMMnC3gexCeYqgH1pBb9hw=="
    b"MmXq2LETJel4FY7NZFzsKpJSixrim9C06vdiPOSXbdh8TZa8XYcw6bRcGIcv7v44FO8IRSRlhn0conr4wEeAtw=="
    b"MVfPb3CzWpgre1fgfptsf+LrDGM0aGTnjjW/FrNXGXa0yWVdQHdHX+rve040X6M1wgxWkGsaMq7+wkwUWsSepQ=="
    b"gaJaYdEsuyz+aKsH4p5UKoCBgwJ1RDPjPD2Mm2w4s9r0nYOPCJLOkxpgZjJ6d9sP4U689oOlZXRVmUinj2hWRw=="
    b"QdfpK9rdAG8uxMcGG5suexUqCAfhiwrV8/Tj/vz4ZrlM5rt3wbyF9Bcm1wQ1egaBAjRN/7KqL0f/Cop5HUtu9w=="
    b"w/+NdRCsbt9fK2jmFoT8sLpNLakAHpCNZR67hokWoA0qzLT0nRD3Yb6nzgTJXC2yj0/zcrGk3Ghpl+Pq9cSaYQ=="
    b"JRg3NDPHVG3mwOEtu1gMmk8fstY62itTueQ39K/MK+9THzB/tI8h8ioMen6c5vSfLLm5s6GFrkarEtkPv9kvuQ=="
)


def base(factor):
    """What feeds factor x G to the ladder."""
    return Comb(_entry, _SPACING, _TEETH, factor)


def public(private):
    """Return the public point of a private scalar."""
    return product(_SPACING, base(private))


def _entry(teeth):
    at = _ENTRY_LEN * (teeth - 1)
    octets = a2b_base64(_ENTRIES[at : at + _ENTRY_LEN])
    return int.from_bytes(octets[:32], "big"), int.from_bytes(octets[32:], "big")
