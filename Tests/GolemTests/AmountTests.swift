import Golem
import Testing

@Suite("Amount")
struct AmountTests {
    @Test(
        "reads what the daemon writes",
        arguments: [
            ("1", "1"), ("1.000000000000000000", "1"), ("0.000375213717460632", "0.000375213717460632"),
            ("0.10", "0.1"), ("-0.5", "-0.5"), ("1e-9", "0.000000001"), ("2.5E3", "2500"), ("00012.50", "12.5"),
            ("0.000000000000000001", "0.000000000000000001"), ("1.0000000000000000000000", "1"), ("0", "0"),
            ("123456789012.123456789012345678", "123456789012.123456789012345678"),
        ])
    func reading(text: String, expected: String) throws {
        #expect(try #require(Amount(text)).description == expected)
    }

    @Test(
        "refuses what is no exact amount",
        arguments: [
            "", "-", ".", "1.2.3", "abc", "1e", "0x10", "1 ", "0.0000000000000000001", "1e999", "1e21", "NaN", "inf",
        ])
    func refusing(text: String) {
        #expect(Amount(text) == nil)
    }

    @Test("the largest amount, which a ledger holds for what nobody can pay, is read; more is not")
    func largest() {
        #expect(Amount(Amount.largest.description) == .largest)
        #expect(Amount(Amount.largest.description + ".000000000000000001") == nil)
    }

    @Test("text and value convert without loss")
    func roundTrip() throws {
        var generator = Repeatable(seed: 7)
        for _ in 0..<2000 {
            let units = Int128(Int64.random(in: .min ... .max, using: &generator)) * Int128(1 << generator.next() % 20)
            let amount = Amount(units: units)
            #expect(Amount(amount.description) == amount)
        }
    }

    @Test("sums of tenths are exact")
    func sums() {
        let tenth = Amount("0.1")!
        #expect((0..<10).reduce(Amount.zero) { sum, _ in sum + tenth } == 1)
        #expect(tenth < 1 && tenth > .zero)
        #expect(Amount(1).scaled(by: 0.25) == Amount("0.25"))
        #expect(Amount(glm: 0.25) == Amount("0.25"))
        #expect(Amount(glm: .nan) == nil && Amount(glm: 1e30) == nil)
    }
}

/// SplitMix64: the same numbers for the same seed, so that a failure can be repeated.
struct Repeatable: RandomNumberGenerator {
    var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}
