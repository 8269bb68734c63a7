extension Int {
    /// The sum, or the largest or smallest number there is where it is beyond.
    public func addingSaturating(_ other: Int) -> Int {
        let (sum, overflow) = addingReportingOverflow(other)
        return overflow ? (other < 0 ? .min : .max) : sum
    }

    /// The product of two numbers that are not negative, or the largest number there is where it is beyond.
    public func multipliedSaturating(by other: Int) -> Int {
        let (product, overflow) = multipliedReportingOverflow(by: other)
        return overflow ? .max : product
    }
}

extension Sequence<Int> {
    /// The sum of all, held between the smallest and the largest number there is.
    public func saturatingSum() -> Int { reduce(0) { $0.addingSaturating($1) } }
}
