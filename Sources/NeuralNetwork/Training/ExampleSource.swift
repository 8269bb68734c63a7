import Tensors

/// Examples that training and evaluation ask for a batch at a time: they may be in memory (``Examples``), in a file
/// (``StoredExamples``), or made as they are asked for. The same examples give the same result, wherever they come from.
public protocol ExampleSource: Sendable {
    /// Number of examples.
    var count: Int { get }

    /// Puts the examples of the given numbers (0 ..< count, in any order, as many as the batch holds) into a batch: their
    /// inputs by ``ExampleBatch/setInputs(_:)`` and, where there are any, their targets by
    /// ``ExampleBatch/setTargets(_:)``.
    ///
    /// Called by one thread at a time for one batch, by several for several.
    func gather(_ rows: UnsafeBufferPointer<Int64>, into batch: ExampleBatch) throws(DeMLError)
}

/// A batch of examples on its way from a source into a network. All of its memory is taken when it is made, but for the
/// room that a source asks for.
public final class ExampleBatch {
    private let network: Network
    private let objective: Objective
    private let form: ExampleForm
    private let capacity: Int
    private let rows: UnsafeMutableBufferPointer<Int64>
    private let mapped: UnsafeMutableBufferPointer<Int64>
    private var room = UnsafeMutableRawBufferPointer(start: nil, count: 0)
    private var count = 0
    private var hasTargets = false

    package init(_ network: Network, _ objective: Objective) {
        self.network = network
        self.objective = objective
        form = ExampleForm(network.model)
        capacity = network.batchCapacity
        rows = .allocate(capacity: capacity)
        mapped = .allocate(capacity: capacity)
        rows.initialize(repeating: 0)
        mapped.initialize(repeating: 0)
    }

    deinit {
        rows.deallocate()
        mapped.deallocate()
        room.deallocate()
    }

    /// Makes the examples `row(0), … row(count - 1)` of a source the network's batch.
    ///
    /// Throws what the source throws, `missing` where it has no targets and they are wanted, and `outOfRange` for a label
    /// or token that there is none of: the kernels take it for an index, so no source is trusted with it.
    package func load(
        _ count: Int, of source: some ExampleSource, needsTargets: Bool = true, row: (Int) -> Int
    ) throws(DeMLError) {
        precondition(count > 0 && count <= capacity, "the batch is too large")
        for index in 0..<count { rows[index] = Int64(row(index)) }
        self.count = count
        hasTargets = false
        try source.gather(UnsafeBufferPointer(rebasing: rows[..<count]), into: self)
        if form.tokens != nil {
            let each = network.input.size
            try form.checkTokens(UnsafeBufferPointer(start: network.input.values, count: count * each)) {
                Int(rows[$0 / each])
            }
        }
        guard needsTargets else { return }
        guard hasTargets else {
            throw DeMLError(.missing, "the examples have no targets", hint: "only predict goes without labels")
        }
        let each = form.labelsPerExample
        try form.checkLabels(objective.labels.prefix(count * each)) { Int(rows[$0 / each]) }
    }

    // MARK: - For sources

    /// Takes the inputs: U8 or a floating-point type (of tokens: an integer type), `[examples of the batch, …input shape]`.
    /// Throws `shape` and `dtype` where they are not.
    public func setInputs(_ x: Tensor) throws(DeMLError) {
        try form.checkInputs(x.dtype, x.shape)
        guard x.shape[0] == count else {
            throw DeMLError(.shape, "\(count) examples were asked for, but there are \(x.shape[0])")
        }
        let aligned = try x.readable()
        aligned.withUnsafeBytes { bytes in
            guard let base = bytes.baseAddress else { return }
            setInputs(base, isBytes: x.dtype == .u8, rows: nil)
        }
    }

    /// Takes the targets, in the form of ``Examples/init(x:y:for:)``. Throws as that does.
    public func setTargets(_ y: Tensor) throws(DeMLError) {
        try form.checkTargets(y.dtype, y.shape, examples: count)
        switch form.model.loss {
        case .crossEntropy:
            for (index, label) in try form.labels(y, firstExample: 0).enumerated() { objective.labels[index] = label }
        default:
            _ = objective.values.update(from: try form.values(y, firstExample: 0))
        }
        hasTargets = true
    }

    /// Inputs as they are stored, `UInt8` or `Float`: the rows of the given numbers, nil for the first ones.
    func setInputs(_ x: UnsafeRawPointer, isBytes: Bool, rows: UnsafePointer<Int64>?) {
        network.setInput(x, isBytes: isBytes, rows: rows, count: count)
    }

    /// The targets of the given rows, out of those of a whole set.
    func setTargets(_ targets: borrowing Examples.Targets, rows: UnsafeBufferPointer<Int64>) {
        switch targets {
        case .labels(let all):
            let each = form.labelsPerExample
            for index in 0..<count {
                let row = Int(rows[index]) * each
                for label in 0..<each { objective.labels[index * each + label] = all[row + label] }
            }
        case .values(let all):
            let outputs = objective.outputs
            for index in 0..<count {
                let row = Int(rows[index]) * outputs
                for output in 0..<outputs { objective.values[index * outputs + output] = all[row + output] }
            }
        case .none: return
        }
        hasTargets = true
    }

    /// `indices[rows[0]], indices[rows[1]], …`, until the next call.
    func rows(
        _ rows: UnsafeBufferPointer<Int64>, through indices: [Int64]
    ) -> UnsafeBufferPointer<Int64> {
        for (index, row) in rows.enumerated() { mapped[index] = indices[Int(row)] }
        return UnsafeBufferPointer(rebasing: mapped[..<rows.count])
    }

    /// Memory for a source to put rows into, aligned for every number, until the next call.
    func room(_ byteCount: Int) -> UnsafeMutableRawBufferPointer {
        if room.count < byteCount {
            room.deallocate()
            room = .allocate(byteCount: byteCount, alignment: 64)
        }
        return UnsafeMutableRawBufferPointer(rebasing: room[..<byteCount])
    }
}

/// What a model demands of examples, wherever they are.
struct ExampleForm: Sendable {
    let model: ModelDescription
    // Asked for with each batch, so not found in the model each time.
    let tokens: Int?
    let labelsPerExample: Int
    private let classes: Int
    private let ignoredLabel: Int?

    init(_ model: ModelDescription) {
        self.model = model
        tokens = model.input.tokens
        labelsPerExample = model.labelsPerExample
        classes = model.classes
        ignoredLabel = model.labelsTokens ? ModelDescription.ignoredLabel : nil
    }

    private var isBinary: Bool { model.loss == .binaryCrossEntropy }

    /// Throws `dtype`, `shape` and `missing` (no examples).
    func checkInputs(_ dtype: DType, _ shape: [Int]) throws(DeMLError) {
        let isTokens = tokens != nil
        guard isTokens ? dtype.isInteger : dtype == .u8 || dtype.isFloatingPoint else {
            throw DeMLError(
                .dtype,
                "\(isTokens ? "tokens are U8, I16, I32 or I64" : "inputs are U8 or F32"), but it is \(dtype.rawValue)"
            )
        }
        guard !shape.isEmpty, shape.dropFirst().elementsEqual(model.inputShape) else {
            throw DeMLError(
                .shape,
                "the model needs inputs of shape [N, \(model.inputShape.map(String.init).joined(separator: ", "))], but it is \(shape)"
            )
        }
        guard shape[0] > 0 else { throw DeMLError(.missing, "there are no examples") }
    }

    /// Throws `outOfRange` for an id that is none of the model's tokens. - Parameter example: the number of each one's.
    func checkTokens(_ ids: UnsafeBufferPointer<Float>, example: (Int) -> Int) throws(DeMLError) {
        guard let tokens else { return }
        let most = Float(tokens)
        if let index = ids.firstIndex(where: { !($0 >= 0 && $0 < most && $0 == $0.rounded()) }) {
            throw DeMLError(
                .outOfRange, "the token \(ids[index]) of example \(example(index)) is not in 0 ..< \(tokens)")
        }
    }

    /// The numbers of inputs that the kernels can read. Throws `notFinite`, and `outOfRange` for a token that there is none
    /// of. - Parameter firstExample: the number of the first row.
    func checkInputs(numbers x: Tensor, firstExample: Int = 0) throws(DeMLError) {
        if tokens != nil {
            let floats = x.dtype == .f32 ? x : Tensor(shape: x.shape, floats: try x.floats())
            let each = max(1, x.rowCount)
            try floats.withUnsafeFloats { (ids) throws(DeMLError) in
                try checkTokens(ids) { firstExample + $0 / each }
            }
            return
        }
        if let index = x.firstNonFinite() {
            throw DeMLError(.notFinite, "example \(firstExample + index / x.rowCount) has a NaN or an infinity")
        }
    }

    /// Throws `shape` and `dtype`.
    func checkTargets(_ dtype: DType, _ shape: [Int], examples: Int) throws(DeMLError) {
        guard shape.first == examples else {
            throw DeMLError(.shape, "x has \(examples) rows, but the shape of y is \(shape)")
        }
        switch model.loss {
        case .crossEntropy:
            guard dtype.isInteger else {
                throw DeMLError(.dtype, "labels are U8, I32 or I64, but it is \(dtype.rawValue)")
            }
            let each = labelsPerExample
            guard shape.reduce(1, *) == examples * each, each == 1 || shape.count == 2 else {
                throw DeMLError(
                    .shape, "labels have the shape \(each == 1 ? "[N]" : "[N, \(each)]"), but it is \(shape)")
            }
        default:
            guard dtype.isFloatingPoint || isBinary && dtype.isInteger else {
                throw DeMLError(
                    .dtype,
                    "targets of \(model.loss.name) are \(isBinary ? "U8, I64 or F32" : "F32"), but it is \(dtype.rawValue)"
                )
            }
            let rest = Array(shape.dropFirst())
            guard rest == model.outputShape || rest.isEmpty && model.outputShape.reduce(1, *) == 1 else {
                throw DeMLError(
                    .shape, "the model's outputs have the shape \(model.outputShape), but the targets' is \(rest)")
            }
        }
    }

    /// Class ids, checked. Throws `outOfRange`.
    func labels(_ y: Tensor, firstExample: Int) throws(DeMLError) -> [Int32] {
        let labels = try y.integers()
        let each = labelsPerExample
        try checkLabels(labels) { firstExample + $0 / each }
        return labels.map { Int32($0) }
    }

    /// Throws `outOfRange` for a label that is none of the model's classes. - Parameter example: the number of each.
    func checkLabels(
        _ labels: some RandomAccessCollection<some FixedWidthInteger>, example: (Int) -> Int
    ) throws(DeMLError) {
        for (index, label) in labels.enumerated() where label < 0 || label >= classes {
            if let ignoredLabel, label == ignoredLabel { continue }
            throw DeMLError(
                .outOfRange, "the label \(label) of example \(example(index)) is not in 0 ..< \(classes)",
                hint: "the model has \(classes) outputs")
        }
    }

    /// Targets that are numbers, checked. Throws `notFinite`, and `outOfRange` for a probability that is none.
    func values(_ y: Tensor, firstExample: Int) throws(DeMLError) -> [Float] {
        let values = y.dtype.isInteger ? try y.integers().map { Float($0) } : try y.floats()
        if let index = values.firstIndex(where: { !$0.isFinite }) {
            throw DeMLError(.notFinite, "element \(firstExample * y.rowCount + index) is \(values[index])")
        }
        if isBinary, let index = values.firstIndex(where: { $0 < 0 || $0 > 1 }) {
            throw DeMLError(
                .outOfRange, "element \(firstExample * y.rowCount + index) is \(values[index])",
                hint: "a target of bce_with_logits is between 0 (no) and 1 (yes)")
        }
        return values
    }
}

extension Tensor {
    /// The numbers where the kernels can read them.
    func readable() throws(DeMLError) -> Tensor {
        if isInPlace { return self }
        return Tensor(shape: shape, floats: dtype.isInteger ? try integers().map { Float($0) } : try floats())
    }

    /// Whether the kernels can read the numbers where they are: bytes, or floats that are aligned.
    var isInPlace: Bool {
        dtype == .u8 || dtype == .f32 && withUnsafeBytes { Int(bitPattern: $0.baseAddress) % 4 == 0 }
    }
}
