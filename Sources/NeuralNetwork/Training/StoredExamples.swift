import Tensors

/// Examples that stay in their file and are read a batch at a time: for a set that is larger than memory.
public struct StoredExamples: ExampleSource {
    private let form: ExampleForm
    private let x: StoredTensor
    private let y: StoredTensor?

    /// Number of examples.
    public var count: Int { x.shape[0] }

    /// Checks a data set against a model, its numbers too, walking through it block by block. Takes and throws what
    /// ``Examples/init(x:y:for:)`` does, and what reading throws; without targets there is something to predict,
    /// and nothing else.
    public init(x: StoredTensor, targets y: StoredTensor?, for model: ModelDescription) throws(DeMLError) {
        form = ExampleForm(model)
        self.x = x
        self.y = y
        do throws(DeMLError) {
            try form.checkInputs(x.dtype, x.shape)
            if x.dtype.isFloatingPoint || model.input.tokens != nil {
                try x.eachBlock { (first, block) throws(DeMLError) in
                    let numbers = model.input.tokens == nil ? block : try block.readable()
                    try form.checkInputs(numbers: numbers, firstExample: first)
                }
            }
        } catch {
            throw error.at("tensor 'x'")
        }
        guard let y else { return }
        do throws(DeMLError) {
            try form.checkTargets(y.dtype, y.shape, examples: x.shape[0])
            try y.eachBlock { (first, block) throws(DeMLError) in
                switch model.loss {
                case .crossEntropy: _ = try form.labels(block, firstExample: first)
                default: _ = try form.values(block, firstExample: first)
                }
            }
        } catch {
            throw error.at("tensor 'y'")
        }
    }

    public func gather(_ rows: UnsafeBufferPointer<Int64>, into batch: ExampleBatch) throws(DeMLError) {
        let inputs = try x.gather(rows, batch)
        if x.dtype == .u8 || x.dtype == .f32 {
            guard let base = inputs.baseAddress else { return }
            batch.setInputs(base, isBytes: x.dtype == .u8, rows: nil)
        } else {
            try batch.setInputs(try x.tensor(inputs, rows: rows.count))
        }
        guard let y else { return }
        try batch.setTargets(try y.tensor(try y.gather(rows, batch), rows: rows.count))
    }
}

extension StoredTensor {
    /// Bytes that are read at a time where all rows are looked at.
    private static let blockBytes = 1 << 20

    /// Walks through all rows, a block after the other. `body` gets the number of a block's first row.
    fileprivate func eachBlock(_ body: (Int, Tensor) throws(DeMLError) -> Void) throws(DeMLError) {
        let step = max(1, Self.blockBytes / max(1, rowBytes))
        for first in stride(from: 0, to: shape[0], by: step) {
            try body(first, try rows(first..<min(first + step, shape[0])))
        }
    }

    /// The bytes of the given rows, in the batch's room.
    fileprivate func gather(
        _ rows: UnsafeBufferPointer<Int64>, _ batch: ExampleBatch
    ) throws(DeMLError) -> UnsafeRawBufferPointer {
        let room = batch.room(rows.count * rowBytes)
        try gatherRows(rows, into: room)
        return UnsafeRawBufferPointer(room)
    }

    /// Gathered rows as a tensor of their own.
    fileprivate func tensor(_ bytes: UnsafeRawBufferPointer, rows: Int) throws(DeMLError) -> Tensor {
        try Tensor(dtype: dtype, shape: [rows] + shape.dropFirst(), bytes: ByteRegion(Array(bytes)))
    }
}
