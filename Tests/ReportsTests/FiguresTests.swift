import Reports
import Testing

@Suite struct FiguresTests {
    @Test(arguments: [
        (0.97613, "97.61 %"), (1, "100.00 %"), (0, "0.00 %"), (-0.00001, "0.00 %"), (.nan, "–"), (.infinity, "–"),
    ])
    func percent(share: Double, expected: String) { #expect(Figures.percent(share) == expected) }

    @Test(arguments: [
        (0.0004, "0 ms"), (0.0123, "12 ms"), (0.834, "0.83 s"), (9.99, "9.99 s"), (9.996, "10.0 s"),
        (59.96, "1 min 00 s"),
        (93, "1 min 33 s"), (3599.7, "1 h 00 min"), (7265, "2 h 01 min"), (-1, "–"), (.nan, "–"), (1e12, "1e+12 s"),
    ])
    func duration(seconds: Double, expected: String) { #expect(Figures.duration(seconds) == expected) }

    @Test(arguments: [
        (0, "0 B"), (999, "999 B"), (1000, "1.00 kB"), (402_112, "402 kB"), (999_499, "999 kB"), (999_500, "1.00 MB"),
        (1_204_000, "1.20 MB"), (9_995_000, "10.0 MB"), (7_080_000_000, "7.08 GB"), (5_000_000_000_000_000, "5000 TB"),
    ])
    func bytes(count: Int, expected: String) { #expect(Figures.bytes(count) == expected) }

    @Test(arguments: [
        (0.07821, "0.0782"), (2.302585, "2.3026"), (12.3456, "12.35"), (123_456, "1.23e+05"), (.nan, "–"),
    ])
    func loss(value: Double, expected: String) { #expect(Figures.loss(value) == expected) }

    @Test(arguments: [
        (41_234.5, "41,235"), (-0.4, "0"), (1e300, "9,223,372,036,854,775,807"),
        (-1e300, "-9,223,372,036,854,775,808"), (.nan, "–"), (.infinity, "–"),
        (Double(Int.max), "9,223,372,036,854,775,807"),
    ])
    func groupedNumber(value: Double, expected: String) { #expect(Figures.grouped(value) == expected) }

    @Test(arguments: [(0, "0"), (999, "999"), (1000, "1,000"), (199_210, "199,210"), (-1_663_370, "-1,663,370")])
    func grouped(value: Int, expected: String) { #expect(Figures.grouped(value) == expected) }

    @Test func costAndRate() {
        #expect(Figures.cost(nil) == "–")
        #expect(Figures.cost(0) == "free")
        #expect(Figures.cost(0.01234567) == "0.0123 GLM")
        // Less than a hundredth keeps two digits that count.
        #expect(Figures.cost(0.000012345) == "0.000012 GLM")
        #expect(Figures.cost(1e-18) == "0.0000000000 GLM")
        #expect(Figures.rate(41_234.5) == "41,235/s")
        #expect(Figures.rate(0.5) == "0.50/s")
    }
}

@Suite struct NumberTextTests {
    @Test(arguments: [
        ("0.012345678901234567", "0.0123"), ("0", "0"), ("0.000000000000000000", "0"), ("1.5", "1.5000"),
        ("0.000123456", "0.00012"), ("what?", "what?"),
    ])
    func amount(exact: String, expected: String) { #expect(Figures.amount(exact) == expected) }

    @Test(arguments: [
        (0.5, "0.5"), (12, "12"), (0.00001, "0.00001"), (0.000025, "0.000025"), (2.5e-9, "2.5e-09"),
        (1_500_000, "1500000"), (1e12, "1e+12"), (-0.00001, "-0.00001"),
    ])
    func short(value: Double, expected: String) { #expect(Figures.short(value) == expected) }

    @Test func namesAreShortenedInTheMiddle() {
        #expect(Figures.shortened("fashion-cnn-2026-11-29", to: 11) == "fashi…11-29")
        #expect(Figures.shortened("short", to: 5) == "short")
        for length in 0...8 { #expect(Figures.shortened("a-long-name", to: length).count <= max(1, length)) }
    }
}

@Suite struct LogarithmicAxisTests {
    @Test func coversTheValuesWithRoundTicks() throws {
        let axis = try #require(Axis(logarithmicCovering: [0.0021, 2.3]))
        #expect(axis.isLogarithmic)
        #expect(axis.lower == 0.002 && axis.upper == 5)
        #expect(axis.ticks.map { Figures.short($0) } == ["0.003", "0.01", "0.03", "0.1", "0.3", "1", "3"])
        #expect(axis.position(0.002) == 0 && axis.position(5) == 1 && axis.position(-1) == 0)
        #expect(abs(axis.position(0.1) - 0.5) < 1e-12)
    }

    @Test func thereIsNoneOfWhatIsNotAboveZero() {
        #expect(Axis(logarithmicCovering: [0, 1]) == nil)
        #expect(Axis(logarithmicCovering: [-1, 1]) == nil)
        #expect(Axis(logarithmicCovering: [.nan]) == nil)
        #expect(Axis(logarithmicCovering: []) == nil)
    }

    @Test(arguments: [[1e-120, 1e140], [1, 1], [7, 7.01], [9.99, 10.01], [1e-5, 1e5], [.infinity, 3]])
    func ticksAreFewAndWithin(values: [Double]) throws {
        let axis = try #require(Axis(logarithmicCovering: values))
        #expect(axis.upper > axis.lower)
        #expect((1...9).contains(axis.ticks.count), "\(axis)")
        #expect(axis.ticks.allSatisfy { $0 >= axis.lower * 0.999 && $0 <= axis.upper * 1.001 }, "\(axis)")
        for value in values where value.isFinite { #expect((0...1).contains(axis.position(value))) }
    }
}

@Suite struct AxisTests {
    @Test func ticksAreRoundAndCoverTheValues() {
        let axis = Axis(covering: [0.9431, 0.9801], floor: 0, ceiling: 1)
        #expect(axis.lower <= 0.9431 && axis.upper >= 0.9801)
        #expect(axis.ticks.map { Figures.short($0) } == ["0.94", "0.95", "0.96", "0.97", "0.98", "0.99"])
    }

    @Test func everyRangeIsCoveredByFewTicks() {
        for exponent in -6...6 {
            for mantissa in [1.0, 1.7, 3.3, 9.9] {
                for offset in [0.0, 0.5, -3.0] {
                    var scale = 1.0
                    for _ in 0..<abs(exponent) { scale *= exponent < 0 ? 0.1 : 10 }
                    let values = [offset * scale, (offset + mantissa) * scale]
                    let axis = Axis(covering: values)
                    let context = "\(values) gave \(axis)"
                    #expect(axis.lower <= values[0] + 1e-9 * scale, "\(context)")
                    #expect(axis.upper >= values[1] - 1e-9 * scale, "\(context)")
                    #expect((2...9).contains(axis.ticks.count), "\(context)")
                    #expect(
                        axis.ticks.allSatisfy { $0 >= axis.lower - 1e-9 * scale && $0 <= axis.upper + 1e-9 * scale })
                }
            }
        }
    }

    @Test func degenerateRangesStillHaveAWidth() {
        for values in [[], [0], [1], [1, 1], [.nan], [.infinity, 0.5], [-2, -2]] as [[Double]] {
            let axis = Axis(covering: values, floor: -10, ceiling: 10)
            #expect(axis.upper > axis.lower, "\(values)")
            #expect(!axis.ticks.isEmpty, "\(values)")
        }
    }

    @Test func boundsHold() {
        let axis = Axis(covering: [0.999, 1], floor: 0, ceiling: 1)
        #expect(axis.upper == 1)
        #expect(axis.position(2) == 1)
        #expect(axis.position(-.infinity) == 0)
    }

    @Test func roundsAreWholeNumbers() {
        #expect(Axis(counting: 1...3).ticks == [1, 2, 3])
        #expect(Axis(counting: 1...120).ticks == [1, 20, 40, 60, 80, 100, 120])
        #expect(Axis(counting: 5...5).ticks == [5])
    }
}
