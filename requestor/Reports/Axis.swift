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
        let finite = values.filter(\.isFinite)
        var low = finite.min() ?? 0
        var high = finite.max() ?? 1
        if high - low < max(abs(high), abs(low)) * 1e-6 || high == low {
            let margin = max(abs(high) * 0.05, 1e-3)
            low -= margin
            high += margin
        }
        low = max(low, floor)
        high = min(high, ceiling)
        if high <= low { high = low + 1 }
        let step = Self.niceStep((high - low) / Double(max(1, steps)))
        lower = max(floor, (low / step + 1e-9).rounded(.down) * step)
        upper = min(ceiling, (high / step - 1e-9).rounded(.up) * step)
        let first = Int((lower / step - 1e-6).rounded(.up))
        let last = Int((upper / step + 1e-6).rounded(.down))
        ticks = first <= last ? (first...last).map { Double($0) * step } : [lower, upper]
    }

    /// An axis over whole numbers `lower...upper`, ticks on whole numbers.
    public init(counting range: ClosedRange<Int>, steps: Int = 8) {
        lower = Double(range.lowerBound)
        upper = Double(max(range.upperBound, range.lowerBound + 1))
        let step = max(1, Int(Self.niceStep((upper - lower) / Double(max(1, steps))).rounded()))
        var marks = [range.lowerBound]
        var next = (range.lowerBound / step + 1) * step
        while next <= range.upperBound {
            marks.append(next)
            next += step
        }
        if marks.count > 2, Double(marks[1] - marks[0]) < Double(step) * 0.6 { marks.remove(at: 1) }
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
