import Tensors

/// Labelled examples for a model, checked once. A subset is a list of indices: the data is shared, never copied.
public struct Examples: Sendable {
    package enum Targets: Sendable {
        /// Class ids in 0 ..< classes.
        case labels([Int32])
        /// [count, outputs].
        case values([Float])
    }

    /// U8 or F32 `[N, …input shape]`, aligned.
    package let x: Tensor
    package let y: Targets
    /// Rows of `x` and `y` that belong to this set; nil for all.
    let indices: [Int64]?

    /// Number of examples.
    public var count: Int { indices?.count ?? x.shape[0] }

    /// Checks a data set against a model.
    /// - Parameters:
    ///   - x: U8 or a floating-point type, `[N, …input shape]`, N at least 1, all finite.
    ///   - y: for cross_entropy integer class ids `[N]`, 0 ..< classes; for mse `[N, …output shape]`, or `[N]` where the
    ///     output is a single number.
    ///
    /// Throws `dtype`, `shape`, `missing` (no examples), `notFinite` or `outOfRange`, with the tensor as place.
    public init(x: Tensor, y: Tensor, for model: ModelDescription) throws(DeMLError) {
        self.x = try Self.inputs(x, for: model)
        guard y.shape.first == x.shape[0] else {
            throw DeMLError(
                .shape, "x has \(x.shape[0]) rows, but the shape of y is \(y.shape)", place: "tensor 'y'")
        }
        do throws(DeMLError) {
            self.y = try Self.targets(y, for: model)
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

    /// The class id of each example, in the order of this set; nil for a regression.
    public var labels: [Int]? {
        guard case .labels(let labels) = y else { return nil }
        guard let indices else { return labels.map(Int.init) }
        return indices.map { Int(labels[Int($0)]) }
    }

    /// Checks and aligns the inputs of a model.
    static func inputs(_ x: Tensor, for model: ModelDescription) throws(DeMLError) -> Tensor {
        do throws(DeMLError) {
            guard x.dtype == .u8 || x.dtype.isFloatingPoint else {
                throw DeMLError(.dtype, "inputs are U8 or F32, but it is \(x.dtype.rawValue)")
            }
            guard !x.shape.isEmpty, Array(x.shape.dropFirst()) == model.inputShape else {
                throw DeMLError(
                    .shape,
                    "the model needs inputs of shape [N, \(model.inputShape.map(String.init).joined(separator: ", "))], but it is \(x.shape)"
                )
            }
            guard x.shape[0] > 0 else { throw DeMLError(.missing, "there are no examples") }
            let isInPlace =
                x.dtype == .u8
                || x.dtype == .f32 && x.withUnsafeBytes { Int(bitPattern: $0.baseAddress) % 4 == 0 }
            guard isInPlace || x.count < availableMemory() / 4 else {
                throw DeMLError(
                    .tooLarge, "\(x.count) numbers must be converted, which needs more memory than there is",
                    hint: "F32 or U8 are used where they lie")
            }
            let aligned = isInPlace ? x : Tensor(shape: x.shape, floats: try x.floats())
            if let index = aligned.firstNonFinite() {
                throw DeMLError(.notFinite, "example \(index / aligned.rowCount) has a NaN or an infinity")
            }
            aligned.relinquish()
            return aligned
        } catch {
            throw error.at("tensor 'x'")
        }
    }

    private static func targets(_ y: Tensor, for model: ModelDescription) throws(DeMLError) -> Targets {
        switch model.loss {
        case .crossEntropy:
            guard y.dtype.isInteger else {
                throw DeMLError(.dtype, "labels are U8, I32 or I64, but it is \(y.dtype.rawValue)")
            }
            guard y.count == y.shape[0] else {
                throw DeMLError(.shape, "labels have the shape [N], but it is \(y.shape)")
            }
            let classes = model.outputShape[0]
            let labels = try y.integers()
            if let row = labels.firstIndex(where: { $0 < 0 || $0 >= classes }) {
                throw DeMLError(
                    .outOfRange, "the label \(labels[row]) of example \(row) is not in 0 ..< \(classes)",
                    hint: "the model has \(classes) outputs")
            }
            return .labels(labels.map { Int32($0) })
        case .meanSquaredError:
            guard y.dtype.isFloatingPoint else {
                throw DeMLError(.dtype, "targets of mse are F32, but it is \(y.dtype.rawValue)")
            }
            let rest = Array(y.shape.dropFirst())
            guard rest == model.outputShape || rest.isEmpty && model.outputShape.reduce(1, *) == 1 else {
                throw DeMLError(
                    .shape, "the model's outputs have the shape \(model.outputShape), but the targets' is \(rest)")
            }
            let values = try y.floats()
            if let index = values.firstIndex(where: { !$0.isFinite }) {
                throw DeMLError(.notFinite, "element \(index) is \(values[index])")
            }
            return .values(values)
        }
    }
}
