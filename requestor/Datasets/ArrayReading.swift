import Tensors

/// Arrays as examples and labels: their layout, and what the labels are.
struct ArrayReading {
    var schema: Schema
    var train: Dataset.Part
    var test: Dataset.Part?
    /// Names of the classes where they are more than the numbers of their ids.
    var classNames: [String]?
    var decisions: [Decision] = []

    init(schema: Schema, train: Dataset.Part) {
        self.schema = schema
        self.train = train
    }

    /// Decides what the arrays are.
    init(
        train: (x: SourceArray, y: SourceArray), test: (x: SourceArray, y: SourceArray)?, _ options: DatasetOptions
    ) throws(DeMLError) {
        let x = try Self.numbers(train.x)
        let layout = Self.layout(x.shape, options.inputShape)
        let trainX = try Self.placed(x, layout)
        let shape = Array(trainX.shape.dropFirst())
        if layout == .channelsLast {
            decisions.append(
                Decision(
                    "layout",
                    "channels last, \(x.shape.dropFirst().map(String.init).joined(separator: "×")): moved to the front")
            )
        }
        let labels = try DatasetSource.attempt("y") { (_) throws(DeMLError) in try ArrayLabels(train.y, options) }
        decisions += labels.decisions
        let target = Self.extended(labels, by: test?.y)
        schema = Schema(features: Self.features(shape, layout), target: target)
        classNames = labels.hasNames ? labels.target.names : nil
        self.train = Dataset.Part(x: trainX, y: labels.y)
        if let test {
            let testX = try Self.numbers(test.x)
            self.test = Dataset.Part(
                x: try Self.placed(testX, testX.shape.count == 4 ? layout : .channelsFirst),
                y: try DatasetSource.attempt("y of the test set") { (_) throws(DeMLError) in
                    try ArrayLabels.values(test.y, target, options)
                })
        }
    }

    /// Ids that only the test set has are classes too, where a class is its number.
    private static func extended(_ labels: ArrayLabels, by test: SourceArray?) -> Schema.Target {
        guard case .classes(let names, _) = labels.target, !labels.hasNames, case .numbers(let y)? = test,
            y.dtype.isInteger, y.shape.dropFirst().allSatisfy({ $0 == 1 }), let largest = try? y.integers().max(),
            largest >= names.count, largest < Dataset.maximumClasses
        else { return labels.target }
        return .classes((0...largest).map(String.init), column: nil)
    }

    /// Examples as U8 or F32, images `[N,H,W]` as `[N,1,H,W]`.
    static func numbers(_ array: SourceArray) throws(DeMLError) -> Tensor {
        guard case .numbers(let x) = array else {
            throw DeMLError(.dtype, "the examples are texts, but arrays of examples hold numbers", place: "x")
        }
        return try DatasetSource.attempt("x") { (_) throws(DeMLError) in try examples(x) }
    }

    static func examples(_ x: Tensor) throws(DeMLError) -> Tensor {
        var shape = x.shape
        guard !shape.isEmpty else { throw DeMLError(.shape, "a scalar cannot be the examples") }
        if shape.count == 1 { shape.append(1) }
        if shape.count == 3 { shape.insert(1, at: 1) }
        switch x.dtype {
        case .u8, .f32: return try x.reshaped(shape)
        case .bool: return try Tensor(dtype: .u8, shape: shape, bytes: x.bytes)
        case .f16, .bf16, .f64: return Tensor(shape: shape, floats: try x.floats())
        case .i8, .i16, .i32, .i64: return Tensor(shape: shape, floats: try x.integers().map(Float.init))
        }
    }

    /// Channels are last where the last size is that of grey, colour or colour with alpha, and the first is none of them;
    /// or where the model's shape says so.
    static func layout(_ shape: [Int], _ inputShape: [Int]?) -> Schema.Layout {
        guard shape.count == 4 else { return .channelsFirst }
        let (first, last) = (shape[1], shape[3])
        if let inputShape {
            let isLast = inputShape == [last, first, shape[2]] && inputShape != Array(shape.dropFirst())
            return isLast ? .channelsLast : .channelsFirst
        }
        // Grey or colour; four channels are rarer than four pixels.
        let isLast = [1, 3].contains(last) ? ![1, 3].contains(first) : last == 4 && ![1, 3, 4].contains(first)
        return isLast ? .channelsLast : .channelsFirst
    }

    static func placed(_ x: Tensor, _ layout: Schema.Layout) throws(DeMLError) -> Tensor {
        layout == .channelsLast ? Dataset.channelsFirst(x) : x
    }

    static func features(_ shape: [Int], _ layout: Schema.Layout) -> Schema.Features {
        shape.count == 3 && shape[0] <= 4 ? .pixels(shape: shape, layout: layout) : .numbers(shape: shape)
    }
}

extension Schema.Target {
    var names: [String]? {
        if case .classes(let names, _) = self { names } else { nil }
    }
}

/// The labels of an array: class ids, one-hot rows, numbers that stand for classes, names, or numbers to predict.
struct ArrayLabels {
    var y: Tensor
    var target: Schema.Target
    /// Names say more than the ids do.
    var hasNames = false
    var decisions: [Decision] = []

    init(_ array: SourceArray, _ options: DatasetOptions) throws(DeMLError) {
        switch array {
        case .texts(let texts, let shape):
            guard options.labels != .numbers else {
                throw DeMLError(.dtype, "the labels are texts, but numbers are to be predicted")
            }
            try Self.checkColumn(shape)
            let names = Set(texts).sorted(by: TableContent.isBefore)
            guard names.count <= Dataset.maximumClasses else {
                throw DeMLError(.outOfRange, "the labels have \(names.count) different texts, too many for classes")
            }
            let target = Schema.Target.classes(names, column: nil)
            self.init(y: try Self.values(array, target, options), target: target, hasNames: true)
        case .numbers(let tensor):
            try self.init(tensor, options)
        }
    }

    private init(y: Tensor, target: Schema.Target, hasNames: Bool) {
        self.y = y
        self.target = target
        self.hasNames = hasNames
    }

    private init(_ tensor: Tensor, _ options: DatasetOptions) throws(DeMLError) {
        guard let count = tensor.shape.first else { throw DeMLError(.shape, "a scalar cannot be the labels") }
        let width = count == 0 ? 0 : tensor.count / count
        let isOneHot = options.labels != .numbers && width > 1 && tensor.shape.count == 2 && Self.oneHot(tensor) != nil
        let isFloating = tensor.dtype.isFloatingPoint
        let areNumbers =
            switch options.labels {
            case .numbers: true
            case .classes: false
            case .automatic: isFloating && !isOneHot
            }
        if areNumbers {
            target = .numbers(width == 1 ? ["y"] : (0..<max(width, 1)).map { "y\($0)" })
            y = try Self.values(.numbers(tensor), target, options)
        } else if isOneHot {
            target = .classes((0..<width).map(String.init), column: nil)
            decisions.append(Decision("label", "one-hot rows: \(width) classes"))
            y = try Self.values(.numbers(tensor), target, options)
        } else {
            guard width == 1 || count == 0 else {
                throw DeMLError(
                    .shape, "labels of shape \(tensor.shape) are no class ids, one for each example, and not one-hot",
                    hint: "numbers to predict are learned with loss: mse")
            }
            let numbering = try ClassNumbering(of: Self.distinct(tensor), outputs: options.outputs)
            target = .classes(numbering.names, column: nil)
            hasNames = numbering.isRenumbered
            if numbering.isRenumbered {
                decisions.append(
                    Decision(
                        "label",
                        "the values \(Naming.list(numbering.names, limit: 8)) are \(numbering.names.count) classes"))
            }
            y = try Self.values(.numbers(tensor), target, options)
        }
    }

    private static func checkColumn(_ shape: [Int]) throws(DeMLError) {
        guard shape.count == 1 || (shape.count > 1 && shape.dropFirst().allSatisfy { $0 == 1 }) else {
            throw DeMLError(.shape, "labels of shape \(shape) are not one for each example")
        }
    }

    private static func distinct(_ tensor: Tensor) throws(DeMLError) -> Set<Double> {
        tensor.dtype.isFloatingPoint
            ? Set(try tensor.floats().map(Double.init)) : Set(Set(try tensor.integers()).map(Double.init))
    }

    /// The place of the one in each row of zeros and a one.
    private static func oneHot(_ tensor: Tensor) -> [Int64]? {
        let width = tensor.shape[1]
        guard width > 1,
            let values = try? tensor.dtype.isFloatingPoint ? tensor.floats() : tensor.integers().map(Float.init)
        else { return nil }
        var ids: [Int64] = []
        for row in 0..<tensor.shape[0] {
            var place: Int?
            for column in 0..<width {
                let value = values[row * width + column]
                if value == 1, place == nil { place = column } else if value != 0 { return nil }
            }
            guard let place else { return nil }
            ids.append(Int64(place))
        }
        return ids
    }

    /// Labels by a target that is known: U8, I32 or I64 `[N]` of class ids, or F32 `[N, outputs]`.
    static func values(_ array: SourceArray, _ target: Schema.Target, _ options: DatasetOptions) throws(DeMLError)
        -> Tensor
    {
        switch (target, array) {
        case (.numbers, .texts): throw DeMLError(.dtype, "the labels are texts, but the model predicts numbers")
        case (.numbers(let columns), .numbers(let tensor)):
            guard let count = tensor.shape.first else { throw DeMLError(.shape, "a scalar cannot be the labels") }
            let floats = tensor.dtype.isFloatingPoint ? try tensor.floats() : try tensor.integers().map(Float.init)
            guard count * columns.count == floats.count else {
                throw DeMLError(
                    .shape, "the targets have the shape \(tensor.shape), but \(columns.count) numbers are predicted")
            }
            return Tensor(shape: [count, columns.count], floats: floats)
        case (.classes(let names, _), .texts(let texts, let shape)):
            try checkColumn(shape)
            let ids = Dictionary(zip(names, Int64(0)...)) { first, _ in first }
            var found: [Int64] = []
            for text in texts {
                guard let id = ids[text] else {
                    throw DeMLError(
                        .outOfRange, "the label \(text.quotedForMessage) is none of the classes that are known",
                        hint: "they are \(Naming.list(names, nearest: text))")
                }
                found.append(id)
            }
            return Tensor(shape: [found.count], int64s: found)
        case (.classes(let names, _), .numbers(let tensor)):
            return try classIDs(tensor, names)
        }
    }

    private static func classIDs(_ tensor: Tensor, _ names: [String]) throws(DeMLError) -> Tensor {
        guard let count = tensor.shape.first else { throw DeMLError(.shape, "a scalar cannot be the labels") }
        if tensor.shape.count == 2, tensor.shape[1] == names.count, names.count > 1, let ids = oneHot(tensor) {
            return Tensor(shape: [ids.count], int64s: ids)
        }
        try checkColumn(tensor.shape)
        let numbering = ClassNumbering(names: names)
        let values =
            tensor.dtype.isFloatingPoint ? try tensor.floats().map(Double.init) : try tensor.integers().map(Double.init)
        var ids: [Int64] = []
        ids.reserveCapacity(count)
        for (row, value) in values.enumerated() {
            guard let id = numbering.id(of: value) else {
                throw DeMLError(
                    .outOfRange,
                    "the label \(NumberText.name(of: value)) of example \(row) is none of the \(names.count) classes",
                    hint: "they are \(Naming.list(names, limit: 12))")
            }
            ids.append(Int64(id))
        }
        // Ids stay as they are stored.
        if !numbering.isRenumbered, [.u8, .i32, .i64].contains(tensor.dtype) { return try tensor.reshaped([count]) }
        return Tensor(shape: [count], int64s: ids)
    }
}
