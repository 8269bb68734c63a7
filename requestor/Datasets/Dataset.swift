import NeuralNetwork
import Tensors

/// Labelled examples to learn from, and others to test with.
public struct Dataset: Sendable {
    /// Examples: `x` is U8 or F32 `[N, …]`, or U8 or I32 `[N, length]` of tokens; `y` is U8, I32 or I64 `[N]` (class ids),
    /// the same `[N, length]` where each token has a label, or F32 `[N, outputs]`.
    public struct Part: Sendable, Equatable {
        public var x: Tensor
        public var y: Tensor

        public init(x: Tensor, y: Tensor) {
            self.x = x
            self.y = y
        }

        public var count: Int { x.shape.first ?? 0 }

        /// The shape of one example.
        public var exampleShape: [Int] { Array(x.shape.dropFirst()) }

        /// The examples with the given numbers, in their order, copied.
        public func gathered(_ indices: [Int]) -> Part {
            Part(x: x.gatherRows(indices), y: y.gatherRows(indices))
        }
    }

    public var name: String
    public var train: Part
    /// Nil only where the options ask for no split and the source has no test set.
    public var test: Part?
    /// Number of classes: one more than the largest label; nil for regression.
    public var classes: Int?
    /// Names of the classes where the source has names for them.
    public var classNames: [String]?
    /// What the numbers stand for.
    public var schema: Schema
    /// What was decided when it was read, for people.
    public var decisions: [Decision] = []
    /// The rows of the source that the examples were, counted from 0; of the training and the test set.
    public var trainRows: [Int] = []
    public var testRows: [Int] = []
    /// The training and test set are parts of one set of the source.
    public var isSplit = false
    /// How a text was cut, where not block by block and file by file; see ``Schema/Source``.
    public var stride: Int?
    public var isByRole = false
    /// The client of each training example, and the clients' names, where the source says who has what.
    public var groups: (ids: [Int], names: [String])?

    /// More classes than this are taken for a mistake: labels are then something else than class ids.
    public static let maximumClasses = 65_536

    /// A dataset of tensors as they are. Throws where x and y do not fit, labels are no class ids, x is empty, or a
    /// value is not finite.
    public init(name: String, train: Part, test: Part? = nil, classNames: [String]? = nil) throws(DeMLError) {
        self.name = name
        self.train = train
        self.test = test
        self.classNames = classNames
        var classes = try Self.check(train, "training set")
        if let test {
            let testClasses = try Self.check(test, "test set")
            guard test.exampleShape == train.exampleShape else {
                throw DeMLError(
                    .shape,
                    "an example of the test set has the shape \(test.exampleShape), but one of the training set"
                        + " \(train.exampleShape)")
            }
            guard (classes == nil) == (testClasses == nil) else {
                throw DeMLError(.dtype, "one of training and test set has class ids and the other numbers to predict")
            }
            if let first = classes, let second = testClasses { classes = max(first, second) }
        }
        self.classes = classes.map { max($0, classNames?.count ?? 0) }
        let target: Schema.Target
        if let count = self.classes {
            target = .classes(classNames ?? (0..<count).map(String.init), column: nil)
        } else {
            let outputs = train.y.shape.dropFirst().reduce(1, *)
            target = .numbers(outputs == 1 ? ["y"] : (0..<outputs).map { "y\($0)" })
        }
        schema = Schema(features: ArrayReading.features(train.exampleShape, .channelsFirst), target: target)
        trainRows = Array(0..<train.count)
        testRows = Array(0..<(test?.count ?? 0))
    }

    /// SHA-256 over what the model sees: types, shapes and bytes of x and y, training set first. A file that was moved,
    /// renamed or compressed is the same data.
    public func contentSHA256() -> String {
        Self.contentSHA256([train.x, train.y, test?.x, test?.y].compactMap(\.self))
    }

    static func contentSHA256(_ tensors: [Tensor]) -> String {
        var digest = SHA256Digest()
        for tensor in tensors {
            digest.update(Array("\(tensor.dtype.rawValue) \(tensor.shape)\n".utf8))
            tensor.withUnsafeBytes { digest.update($0) }
        }
        return digest.hex()
    }

    /// Each example has a label for each of its tokens.
    public var labelsTokens: Bool { classes != nil && train.y.shape.count > 1 }

    /// The labels of the training set as class ids; throws `usage` for regression, and where examples have several.
    public func trainLabels() throws(DeMLError) -> [Int] {
        guard classes != nil else {
            throw DeMLError(.usage, "the dataset has numbers to predict and no classes", place: name)
        }
        guard !labelsTokens else {
            throw DeMLError(
                .usage, "the examples have a label for each token, not one of their own", place: name,
                hint: "use iid, quantity:SKEW, by_file or by_column:role")
        }
        return try train.y.integers()
    }

    /// The same examples in the shape that a model takes: `[28,28]` for `[1,28,28]`, rows of 784 numbers for any shape
    /// of as many, channels last (`[32,32,3]`, as Keras has images) for channels first. Throws `shape` for others.
    public func fitted(to inputShape: [Int]) throws(DeMLError) -> Dataset {
        var fitted = self
        fitted.train.x = try Self.fit(train.x, to: inputShape)
        if let test { fitted.test?.x = try Self.fit(test.x, to: inputShape) }
        return fitted
    }

    /// `x` `[N, …]` in the shape that a model takes, by the rules of ``fitted(to:)``.
    package static func fit(_ x: Tensor, to inputShape: [Int]) throws(DeMLError) -> Tensor {
        let shape = Array(x.shape.dropFirst())
        if shape == inputShape { return x }
        let isSame = shape.filter { $0 != 1 } == inputShape.filter { $0 != 1 }
        let isFlat = shape.count == 1 && shape[0] == inputShape.reduce(1, *)
        if isSame || isFlat { return try x.reshaped([x.shape[0]] + inputShape) }
        if shape.count == 3, inputShape == [shape[2], shape[0], shape[1]] { return channelsFirst(x) }
        throw DeMLError(
            .shape, "an example has the shape \(shape), but the model takes \(inputShape)",
            hint: "set the model's input shape to that of the data")
    }

    /// `[N,H,W,C]` as `[N,C,H,W]`.
    static func channelsFirst(_ x: Tensor) -> Tensor {
        let (count, pixels, channels) = (x.shape[0], x.shape[1] * x.shape[2], x.shape[3])
        let size = x.dtype.byteCount
        let bytes: [UInt8] = makeArray(count: x.bytes.count) { target in
            x.bytes.withUnsafeBytes { source in
                var position = 0
                for example in 0..<count {
                    for channel in 0..<channels {
                        for pixel in 0..<pixels {
                            let start = ((example * pixels + pixel) * channels + channel) * size
                            for byte in 0..<size {
                                target[position] = source[start + byte]
                                position += 1
                            }
                        }
                    }
                }
            }
        }
        // The size is that of x, so this cannot fail.
        return (try? Tensor(dtype: x.dtype, shape: [count, channels] + x.shape[1...2], bytes: bytes[...])) ?? x
    }

    /// Checks a part; returns the number of classes, or nil for regression.
    private static func check(_ part: Part, _ what: String) throws(DeMLError) -> Int? {
        guard part.x.shape.count >= 2, let count = part.x.shape.first, count > 0, !part.x.bytes.isEmpty else {
            throw DeMLError(.shape, "x has the shape \(part.x.shape): there are no examples", place: what)
        }
        // I32 are tokens.
        guard [.u8, .f32, .i32].contains(part.x.dtype) else {
            throw DeMLError(.dtype, "x is \(part.x.dtype.rawValue), but must be U8 or F32", place: what)
        }
        if let index = part.x.firstNonFinite() {
            throw DeMLError(
                .notFinite, "x holds a NaN or an infinity in example \(index / part.x.rowCount)", place: what,
                hint: "leave such examples out, or put a number there; a table may have gaps")
        }
        guard part.y.shape.first == count else {
            throw DeMLError(.mismatch, "there are \(count) examples, but y has the shape \(part.y.shape)", place: what)
        }
        if part.y.dtype == .f32, part.y.shape.count == 2, part.y.shape[1] > 0 {
            if let index = part.y.firstNonFinite() {
                throw DeMLError(
                    .notFinite, "y holds a NaN or an infinity in example \(index / part.y.shape[1])", place: what)
            }
            return nil
        }
        let isPerToken = part.y.shape.count == 2 && part.y.shape == part.x.shape && part.x.dtype != .f32
        guard part.y.shape.count == 1 || isPerToken, [.u8, .i32, .i64].contains(part.y.dtype) else {
            throw DeMLError(
                .dtype,
                "y is \(part.y.dtype.rawValue) of shape \(part.y.shape), but must be integers [N] or F32 [N, outputs]",
                place: what)
        }
        var largest = 0
        for (index, label) in try part.y.integers().enumerated() {
            if isPerToken, label == ModelDescription.ignoredLabel { continue }
            guard (0..<maximumClasses).contains(label) else {
                throw DeMLError(
                    .outOfRange,
                    "the label \(label) of example \(index) is no class id from 0 to \(maximumClasses - 1)",
                    place: what)
            }
            largest = max(largest, label)
        }
        return largest + 1
    }
}
