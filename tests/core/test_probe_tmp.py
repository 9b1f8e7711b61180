from tests.shop import Shop
import httpx, gc
from pathlib import Path

async def test_probe(shop: Shop, client: httpx.AsyncClient) -> None:
    out=[]
    pool=shop.sessions.kw['bind'].pool
    m = await shop.enrol(); tok = await shop.token(m["id"])
    rk=(await shop.post("/v1/keys",{"kind":"restricted","name":"r","scopes":["orders:read"]}))["secret"]
    unknown = None
    gc.disable()
    async def go(name, method, path, bearer=shop.key, **kw):
        h = {"Authorization": f"Bearer {bearer}", **kw.pop("headers", {})}
        b=pool.checkedout()
        r = await client.request(method, path, headers=h, **kw)
        out.append((name, r.status_code, r.text[:90], b, pool.checkedout()))
        return r
    B=shop.order_body()
    for _ in range(3):
        await go("no key","POST","/v1/orders",json=B)
        await go("bad key","POST","/v1/orders",json=B,headers={"Idempotency-Key":"a b"})
        await go("missing scope","GET","/v1/program",bearer=rk)
        await go("missing scope post","POST","/v1/orders",bearer=rk,json=B,headers={"Idempotency-Key":"ab"})
        await go("member on others","GET","/v1/program",bearer=tok)
        await go("me","GET","/v1/me")
        await go("unknown","GET","/v1/program",bearer=shop.key[:-10]+"x"*10)
        await go("404","GET","/v1/orders/ord_x")
        await go("deep","POST","/v1/orders",content=b"["*10000,headers={"Idempotency-Key":"ab","content-type":"application/json"})
        await go("val","POST","/v1/orders",json={},headers={"Idempotency-Key":"ab"})
        await go("utf8","POST","/v1/orders",content=b'"\xff"',headers={"Idempotency-Key":"ab","content-type":"application/json"})
        await go("bad limit","GET","/v1/orders?limit=0")
        await go("bad slug","GET","/r/%00/abcde")
        await go("ready","GET","/health/ready")
    Path("/tmp/qa/probe.txt").write_text("\n".join(map(repr,out)))
    gc.enable()
