import Golem
import Testing

@Suite("FlexBuffers")
struct FlexBuffersTests {
    private func bytes(_ hex: String) -> [UInt8] {
        let digits = hex.compactMap(\.hexDigitValue)
        return stride(from: 0, to: digits.count, by: 2).map { UInt8(digits[$0] << 4 | digits[$0 + 1]) }
    }

    @Test("the worked example of the reference, both ways")
    func example() throws {
        let buffer = bytes("4f6b0066696c6553697a6500010a0101010504011401010107240224 01".filter { $0 != " " })
        let value = FlexValue.map(["Ok": .map(["fileSize": .int(5)])])
        #expect(buffer.count == 29)
        #expect(try FlexValue(decoding: buffer) == value)
        #expect(value.encoded() == buffer)
    }

    // python3: flatbuffers.flexbuffers.Builder with one entry of each kind.
    private let everyKind =
        "6900750066007300076772c3bcc39f65006200030001ff74006e00696900f96966000000000010407476000003000000010000000200"
        + "000070110100667800000000c03f000020400000604076000178006b000103010101090403010d050414240c515f2865474c4f63534"
        + "36a2100000e0000000000000001000000000000000c000000000000007400000000000000000000000000f83f5800000000000000d4"
        + "feffffffffffff840000000000000092000000000000000000000000000000b7000000000000000100000000000000a000000000000"
        + "00000000000000100008500000000000000640f5607221803146b2e0b286c2701"

    @Test("every width and type that another library writes")
    func foreign() throws {
        let value = try FlexValue(decoding: bytes(everyKind))
        #expect(value["i"] == .int(-300) && value["u"] == .uint(1 << 40) && value["f"] == .float(1.5))
        #expect(value["s"] == .string("grüße") && value["b"]?.bytes == [0, 1, 255] && value["t"] == .bool(true))
        #expect(value["n"] == .null && value["ii"] == .int(-7) && value["if"] == .float(2.25))
        #expect(value["tv"] == .vector([.int(1), .int(2), .int(70000)]))
        #expect(value["fx"] == .vector([.float(1.5), .float(2.5), .float(3.5)]))
        #expect(value["v"] == .vector([.int(1), .string("x"), .map(["k": .int(9)])]))
    }

    @Test("a request for a chunk, with a payload of four-byte slots")
    func request() throws {
        let buffer = bytes(
            "6964002478787878787878787878787878787878787878787878787878787878787878787878787800636f6d706f6e656e74"
                + "00084765744368756e6b007061796c6f6164006f66667365740073697a6500020d0702000000010000000200000000000000"
                + "00a00000060603426c300301033d6e13141426062401")
        let value = try FlexValue(decoding: buffer)
        #expect(value["component"]?.string == "GetChunk")
        #expect(value["payload"]?["offset"]?.integer == 0 && value["payload"]?["size"]?.integer == 40960)
    }

    private func random(_ generator: inout Repeatable, depth: Int) -> FlexValue {
        switch Int.random(in: 0...(depth > 0 ? 9 : 7), using: &generator) {
        case 0: return .null
        case 1: return .bool(Bool.random(using: &generator))
        case 2:
            return .int(
                Int64.random(in: .min ... .max, using: &generator) >> Int64.random(in: 0...63, using: &generator))
        case 3: return .uint(generator.next() >> UInt64.random(in: 0...63, using: &generator))
        case 4: return .float(Double.random(in: -1e9...1e9, using: &generator))
        case 5: return .string(String(repeating: "ä", count: Int.random(in: 0...300, using: &generator)))
        case 6, 7:
            let count = [0, 1, 5, 255, 256, 40_960, 70_000].randomElement(using: &generator) ?? 0
            return .blob((0..<count).map { UInt8(truncatingIfNeeded: $0) }[...])
        case 8:
            return .vector(
                (0..<Int.random(in: 0...20, using: &generator)).map { _ in random(&generator, depth: depth - 1) })
        default:
            var fields: [String: FlexValue] = [:]
            for _ in 0..<Int.random(in: 0...20, using: &generator) {
                let key = String(
                    "abcdefghij".shuffled(using: &generator).prefix(Int.random(in: 1...9, using: &generator)))
                fields[key] = random(&generator, depth: depth - 1)
            }
            return .map(fields)
        }
    }

    @Test("what is written is read back the same")
    func roundTrip() throws {
        var generator = Repeatable(seed: 11)
        for _ in 0..<400 {
            let value = random(&generator, depth: 3)
            #expect(try FlexValue(decoding: value.encoded()) == value)
        }
    }

    @Test("a damaged buffer is refused or read, but never crashes or hangs")
    func damaged() {
        var generator = Repeatable(seed: 5)
        let good = bytes(everyKind)
        for length in good.indices { _ = try? FlexValue(decoding: Array(good[..<length])) }
        for _ in 0..<20_000 {
            var bad = good
            for _ in 0..<Int.random(in: 1...6, using: &generator) {
                bad[Int.random(in: bad.indices, using: &generator)] = UInt8.random(in: 0...255, using: &generator)
            }
            _ = try? FlexValue(decoding: bad)
        }
        #expect(throws: GolemError.self) { try FlexValue(decoding: []) }
        #expect(throws: GolemError.self) { try FlexValue(decoding: [0, 0, 3]) }
        // A vector that holds itself.
        #expect(throws: GolemError.self) { try FlexValue(decoding: [1, 0, 0x28, 2, 0x28, 1]) }
    }
}
