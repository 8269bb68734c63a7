import Foundation

/// A range of values with round numbers to write beside it.
///
/// The steps are 1, 2 or 5 times a power of ten (Heckbert, "Nice numbers for graph labels", Graphics Gems, 1990).
public struct Axis: Sendable, Equatable {
    public let lower: Double
    public let upper: Double
    public let ticks: [Double]
    /// Equal distances are equal ratios.
    public let isLogarithmic: Bool

    /// An axis that covers `values`, grown to whole steps. `floor` and `ceiling` bound the growth (an accuracy does not
    /// pass 1); values that are not finite are left out.
    public init(
        covering values: [Double], steps: Int = 5, floor: Double = -.infinity, ceiling: Double = .infinity
    ) {
        // Beyond, differences have no room in a Double.
        let (least, most) = (max(floor, -1e150), min(ceiling, 1e150))
        let finite = values.filter(\.isFinite).map { min(most, max(least, $0)) }
        var low = finite.min() ?? max(0, least)
        var high = finite.max() ?? min(1, most)
        if high - low < max(abs(high), abs(low), 1e-100) * 1e-6 {
            let margin = max(abs(high) * 0.05, 1e-3)
            low = max(low - margin, floor)
            high = min(high + margin, ceiling)
        }
        if high <= low { high = low + 1 }
        let step = Self.niceStep((high - low) / Double(max(1, steps)))
        isLogarithmic = false
        lower = max(floor, (low / step + 1e-9).rounded(.down) * step)
        upper = min(ceiling, (high / step - 1e-9).rounded(.up) * step)
        let first = Int(saturating: (lower / step - 1e-6).rounded(.up))
        let last = Int(saturating: (upper / step + 1e-6).rounded(.down))
        ticks = first <= last ? (first...last).map { Double($0) * step } : [lower, upper]
    }

    /// An axis over whole numbers `lower...upper`, ticks on whole numbers.
    public init(counting range: ClosedRange<Int>, steps: Int = 8) {
        isLogarithmic = false
        lower = Double(range.lowerBound)
        upper = max(Double(range.upperBound), lower + max(1, abs(lower) * 1e-9))
        let step = max(1, Int(saturating: Self.niceStep((upper - lower) / Double(max(1, steps)))))
        var marks = [range.lowerBound]
        var (next, isBeyond) = (range.lowerBound / step).addingSaturating(1).multipliedReportingOverflow(by: step)
        while !isBeyond, next <= range.upperBound {
            // Of negative numbers the division has gone up already.
            if next > range.lowerBound { marks.append(next) }
            (next, isBeyond) = next.addingReportingOverflow(step)
        }
        if marks.count > 2, Double(marks[1]) - Double(marks[0]) < Double(step) * 0.6 { marks.remove(at: 1) }
        ticks = marks.map(Double.init)
    }

    /// A logarithmic axis that covers `values`; `nil` where one of them, of those that are finite, is not above 0, or
    /// there is none. Ticks are powers of ten, with their doubles and halves where that leaves room.
    public init?(logarithmicCovering values: [Double]) {
        let finite = values.filter(\.isFinite).map { min(1e150, $0) }
        guard let low = finite.min(), let high = finite.max(), low >= 1e-150 else { return nil }
        let decades = Int(saturating: log10(low).rounded(.down))...Int(saturating: log10(high).rounded(.up))
        func marks(_ factors: [Double]) -> [Double] {
            // By division, as 0.001 is nearest to 1 / 1000 but not to what powers of 0.1 come to.
            decades.flatMap { power in
                factors.map { power < 0 ? $0 / pow(10, Double(-power)) : $0 * pow(10, Double(power)) }
            }
        }
        let fine = marks([1, 2, 5])
        // The last mark below and the first above: no more of the axis than the values need.
        let from = fine.last { $0 <= low * 1.000001 } ?? low
        var to = fine.first { $0 >= high * 0.999999 } ?? high
        if to <= from { to = fine.first { $0 > from * 1.000001 } ?? from * 2 }
        (lower, upper, isLogarithmic) = (from, to, true)
        let within = { (marks: [Double]) in marks.filter { $0 >= from * 0.999999 && $0 <= to * 1.000001 } }
        let choices = [within(fine), within(marks([1, 3])), within(marks([1]))]
        var chosen = choices.first { $0.count <= 8 } ?? choices[2]
        if chosen.count > 8 {
            let stride = (chosen.count + 7) / 8
            chosen = chosen.enumerated().filter { $0.offset % stride == 0 }.map(\.element)
        }
        ticks = chosen.isEmpty ? [from, to] : chosen
    }

    /// Where `value` lies on the axis: 0 at `lower`, 1 at `upper`, held between them.
    public func position(_ value: Double) -> Double {
        guard value.isFinite else { return value > 0 ? 1 : 0 }
        if isLogarithmic {
            return value <= lower ? 0 : min(1, log10(value / lower) / log10(upper / lower))
        }
        return min(1, max(0, (value - lower) / (upper - lower)))
    }

    private static func niceStep(_ raw: Double) -> Double {
        guard raw.isFinite, raw > 0 else { return 1 }
        let power = pow(10, (log10(raw)).rounded(.down))
        let fraction = raw / power
        return (fraction <= 1.000001 ? 1 : fraction <= 2.000001 ? 2 : fraction <= 5.000001 ? 5 : 10) * power
    }
}
