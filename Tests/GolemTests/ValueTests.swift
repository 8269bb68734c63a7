import Golem
import SHA3
import Testing

@Suite("Values")
struct ValueTests {
    @Test(
        "times with 0 to 9 fraction digits",
        arguments: [
            ("2026-11-23T19:17:01Z", 0), ("2026-11-23T19:17:01.5Z", 500_000_000),
            ("2026-11-23T19:17:01.504Z", 504_000_000),
            ("2026-11-23T19:17:01.925978Z", 925_978_000), ("2026-11-23T19:17:01.573545090Z", 573_545_090),
            ("2026-11-23T19:17:01.573545090", 573_545_090), ("2026-11-23T20:17:01.5+01:00", 500_000_000),
            ("2026-11-23T14:47:01-04:30", 0),
        ])
    func times(text: String, fraction: Int64) throws {
        // date -u -d 2026-11-23T19:17:01Z +%s
        #expect(try #require(Timestamp(text)).nanoseconds == 1_795_461_421_000_000_000 + fraction)
    }

    @Test(
        "a time goes back as it came",
        arguments: [
            "2026-11-23T19:17:01.573545090Z", "2026-02-28T23:59:59.000000001Z", "2024-02-29T00:00:00Z",
            "1970-01-01T00:00:00Z", "2000-12-31T12:34:56.1Z",
        ])
    func timeRoundTrip(text: String) throws {
        let time = try #require(Timestamp(text))
        #expect(Timestamp(time.description) == time)
        if !text.hasSuffix("90Z") { #expect(time.description == text) }
    }

    @Test(
        "what is no time is refused",
        arguments: [
            "", "2026-11-23", "2026-13-01T00:00:00Z", "2026-11-23T25:00:00Z", "2026-11-23T19:17:01.Z",
            "2026-11-23T19:17:01x", "2026-11-23T19:17:01Zz", "x026-11-23T19:17:01Z",
        ])
    func noTimes(text: String) {
        #expect(Timestamp(text) == nil)
    }

    @Test("JSON is read and written; numbers keep their text")
    func json() throws {
        let text =
            #"{"a":[1,2.50,-3e-7,true,false,null],"b":{"c":"gr\u00fc\u00dfe \ud83d\ude00\n\"\\"}, "d":1795463220145}"#
        let value = try #require(JSON(parsing: text))
        #expect(value["a"]?.array?[1] == .number("2.50"))
        #expect(value["a"]?.array?[1].amount == Amount("2.5"))
        #expect(value["b"]?["c"]?.string == "grüße 😀\n\"\\")
        #expect(value["d"]?.int64 == 1_795_463_220_145)
        #expect(JSON(parsing: value.description) == value)
    }

    @Test(
        "what is no JSON is refused",
        arguments: [
            "", "{", "[1,]", "{\"a\":}", "01", "1.", "\"\u{1}\"", "nul", "[1]x", "\"\\ud800\"", "-",
            String(repeating: "[", count: 300) + String(repeating: "]", count: 300),
        ])
    func noJSON(text: String) {
        #expect(JSON(parsing: text) == nil)
    }

    @Test("no text cut short or damaged brings the reader down")
    func damagedJSON() {
        let text = Array(#"{"a":[1,2.5e3,"x\u00e4\\"],"b":{"c":null,"d":[true,false,{}]}}"#.utf8)
        var generator = Repeatable(seed: 3)
        for length in text.indices { #expect(JSON(parsing: text[..<length]) == nil) }
        for _ in 0..<3000 {
            var damaged = text
            damaged[Int.random(in: text.indices, using: &generator)] = UInt8.random(in: 0...255, using: &generator)
            if let value = JSON(parsing: damaged) { #expect(JSON(parsing: value.description) != nil) }
        }
    }

    // python3: hashlib.sha3_224(b"abc").hexdigest() and so on; `chain` is the digest over the digests of
    // bytes((i*7+n) & 255 for i in range(n)) for n in range(420).
    @Test("SHA3 gives the digests of hashlib, for lengths around every block boundary")
    func sha3() {
        #expect(SHA3.hash224([]) == "6b4e03423667dbb73b6e15454f0eb1abd4597f9a1b078e3f5b5a6bc7")
        #expect(SHA3.hash256([]) == "a7ffc6f8bf1ed76651c14756a061d662f580ff4de43b49fa82d80a4b80f8434a")
        #expect(SHA3.hash224(Array("abc".utf8)) == "e642824c3f8cf24ad09234ee7d3c766fc9a3a5168d0c94ad73b46fdf")
        #expect(
            SHA3.hash256(Array("abc".utf8)) == "3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532")
        var chain224 = SHA3.bits224()
        var chain256 = SHA3.bits256()
        for length in 0..<420 {
            let data = (0..<length).map { UInt8(truncatingIfNeeded: $0 * 7 + length) }
            var inPieces = SHA3.bits224()
            for start in stride(from: 0, to: length, by: 61) { inPieces.update(data[start..<min(start + 61, length)]) }
            chain224.update(inPieces.digest())
            var whole = SHA3.bits256()
            whole.update(data)
            chain256.update(whole.digest())
        }
        #expect(chain224.hexDigest() == "3b20fd2d25027b612e3af0d30a6f4b98d4ae8918193ce4466182c531")
        #expect(chain256.hexDigest() == "17c6c31600f814c22b691be85670ba48d39b928431811441c856434c8ef117f2")
    }

    @Test("base64 for URLs as the daemon makes it")
    func base64() {
        #expect(base64URL(Array("/public/gftp/abc".utf8)) == "L3B1YmxpYy9nZnRwL2FiYw")
        #expect(base64URL([0xFB, 0xFF]) == "-_8" && base64URL([1]) == "AQ" && base64URL([]) == "")
    }

    @Test("everything but unreserved characters is escaped in a query")
    func escaping() {
        #expect(escaped("2026-11-23T19:17:01+00:00 ü") == "2026-11-23T19%3A17%3A01%2B00%3A00%20%C3%BC")
    }
}
