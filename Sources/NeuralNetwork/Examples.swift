import Tensors

/// Labelled examples for a model, in memory or in a mapped file, checked once. A subset is a list of indices: the data is
/// shared, never copied.
public struct Examples: ExampleSource {
    enum Targets: Sendable {
        /// Class ids in 0 ..< classes, as many an example as the model has.
        case labels([Int32])
        /// [count, outputs].
        case values([Float])
        case none
    }

    /// U8 or F32 `[N, …input shape]`, aligned.
    package let x: Tensor
    private let y: Targets
    /// Rows of `x` and `y` that belong to this set; nil for all.
    private let indices: [Int64]?

    /// Number of examples.
    public var count: Int { indices?.count ?? x.shape[0] }

    /// Checks a data set against a model.
    /// - Parameters:
    ///   - x: U8 or a floating-point type, `[N, …input shape]`, N at least 1, all finite; of tokens an integer type.
    ///   - y: for cross_entropy integer class ids `[N]`, 0 ..< classes, or one for each token, `[N, tokens]`; else `[N, …output shape]`, or `[N]` where the output
    ///     is a single number; for bce_with_logits all between 0 and 1.
    ///
    /// Throws `dtype`, `shape`, `missing` (no examples), `notFinite` or `outOfRange`, with the tensor as place.
    public init(x: Tensor, y: Tensor, for model: ModelDescription) throws(DeMLError) {
        try self.init(x: x, targets: y, for: model)
    }

    /// The same where the targets may be missing: then there is something to predict, and nothing else.
    package init(x: Tensor, targets y: Tensor?, for model: ModelDescription) throws(DeMLError) {
        let form = ExampleForm(model)
        do throws(DeMLError) {
            self.x = try Self.inputs(x, form)
        } catch {
            throw error.at("tensor 'x'")
        }
        do throws(DeMLError) {
            self.y = try Self.targets(y, examples: x.shape[0], form)
        } catch {
            throw error.at("tensor 'y'")
        }
        indices = nil
    }

    private init(_ x: Tensor, _ y: Targets, indices: [Int64]) {
        self.x = x
        self.y = y
        self.indices = indices
    }

    /// The examples with the given numbers, in their order.
    public func subset(_ chosen: [Int]) -> Examples {
        let all = count
        return Examples(
            x, y,
            indices: chosen.map { index in
                precondition(index >= 0 && index < all, "example \(index) of \(all)")
                return indices?[index] ?? Int64(index)
            })
    }

    /// The class id of each example, in the order of this set; nil where there are none, or one for each of its tokens.
    public var labels: [Int]? {
        guard case .labels(let labels) = y, labels.count == x.shape[0] else { return nil }
        guard let indices else { return labels.map(Int.init) }
        return indices.map { Int(labels[Int($0)]) }
    }

    public func gather(_ rows: UnsafeBufferPointer<Int64>, into batch: ExampleBatch) {
        let rows = indices.map { batch.rows(rows, through: $0) } ?? rows
        x.withUnsafeBytes { bytes in
            guard let base = bytes.baseAddress else { return }
            batch.setInputs(base, isBytes: x.dtype == .u8, rows: rows.baseAddress)
        }
        batch.setTargets(y, rows: rows)
    }

    /// Checks and aligns the inputs of a model.
    private static func inputs(_ x: Tensor, _ form: ExampleForm) throws(DeMLError) -> Tensor {
        try form.checkInputs(x.dtype, x.shape)
        guard x.isInPlace || x.count < availableMemory() / 4 else {
            throw DeMLError(
                .tooLarge, "\(x.count) numbers must be converted, which needs more memory than there is",
                hint: "F32 or U8 are used where they lie")
        }
        let aligned = try x.readable()
        try form.checkInputs(numbers: aligned)
        aligned.relinquish()
        return aligned
    }

    private static func targets(_ y: Tensor?, examples: Int, _ form: ExampleForm) throws(DeMLError) -> Targets {
        guard let y else { return .none }
        try form.checkTargets(y.dtype, y.shape, examples: examples)
        return switch form.model.loss {
        case .crossEntropy: .labels(try form.labels(y, firstExample: 0))
        default: .values(try form.values(y, firstExample: 0))
        }
    }
}
