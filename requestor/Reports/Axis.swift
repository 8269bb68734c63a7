import Foundation

/// A range of values with round numbers to write beside it.
///
/// The steps are 1, 2 or 5 times a power of ten (Heckbert, "Nice numbers for graph labels", Graphics Gems, 1990).
public struct Axis: Sendable, Equatable {
    public let lower: Double
    public let upper: Double
    public let ticks: [Double]

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
        lower = max(floor, (low / step + 1e-9).rounded(.down) * step)
        upper = min(ceiling, (high / step - 1e-9).rounded(.up) * step)
        let first = Int(saturating: (lower / step - 1e-6).rounded(.up))
        let last = Int(saturating: (upper / step + 1e-6).rounded(.down))
        ticks = first <= last ? (first...last).map { Double($0) * step } : [lower, upper]
    }

    /// An axis over whole numbers `lower...upper`, ticks on whole numbers.
    public init(counting range: ClosedRange<Int>, steps: Int = 8) {
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

    /// Where `value` lies on the axis: 0 at `lower`, 1 at `upper`, held between them.
    public func position(_ value: Double) -> Double {
        guard value.isFinite else { return value > 0 ? 1 : 0 }
        return min(1, max(0, (value - lower) / (upper - lower)))
    }

    private static func niceStep(_ raw: Double) -> Double {
        guard raw.isFinite, raw > 0 else { return 1 }
        let power = pow(10, (log10(raw)).rounded(.down))
        let fraction = raw / power
        return (fraction <= 1.000001 ? 1 : fraction <= 2.000001 ? 2 : fraction <= 5.000001 ? 5 : 10) * power
    }
}
