extension Int {
    /// The nearest whole number, the largest or smallest there is where the value is beyond, and 0 for what is no number:
    /// for displays, which must not end the program whatever they are given.
    public init(saturating value: Double) {
        if value.isNaN {
            self = 0
        } else {
            self = Int(exactly: value.rounded()) ?? (value < 0 ? .min : .max)
        }
    }
}
