import NeuralNetwork
import Tensors

/// What the numbers of a dataset stand for. Made when a dataset is first read, carried by shards and weights, obeyed
/// whenever a model meets another file. README.md of this module shows its JSON.
public struct Schema: Sendable, Equatable {
    /// One column of a table.
    public struct Feature: Sendable, Equatable {
        public enum Kind: Sendable, Equatable {
            /// One input, `(value - mean) / deviation`: 0 and 1 where values are taken as they are.
            case number(mean: Double, deviation: Double)
            /// One input for each value, 1 for the value that is there, else 0.
            case category([String])
        }

        public var name: String
        public var kind: Kind
        /// One more input, which is 1 where the value is missing; the others are 0 there.
        public var hasMissing: Bool

        public init(name: String, kind: Kind, hasMissing: Bool = false) {
            self.name = name
            self.kind = kind
            self.hasMissing = hasMissing
        }

        /// Inputs of the model that this column becomes.
        public var width: Int {
            switch kind {
            case .number: 1 + (hasMissing ? 1 : 0)
            case .category(let values): values.count + (hasMissing ? 1 : 0)
            }
        }

        var isRaw: Bool { kind == .number(mean: 0, deviation: 1) && !hasMissing }
    }

    /// In what order a file has the numbers of a picture; the model has channels first.
    public enum Layout: String, Sendable, CaseIterable {
        case channelsFirst = "channels_first"
        case channelsLast = "channels_last"
    }

    public enum Features: Sendable, Equatable {
        case table([Feature])
        /// Pictures `[channels, height, width]`.
        case pixels(shape: [Int], layout: Layout)
        /// Numbers without names.
        case numbers(shape: [Int])
        /// Texts of a fixed length.
        case tokens(length: Int, vocabulary: [String]?)
    }

    public enum Target: Sendable, Equatable {
        /// Names of the classes in the order of their ids, and the column they stand in, where there are columns.
        case classes([String], column: String?)
        /// Numbers to predict.
        case numbers([String])
    }

    /// Which data a model was made from, and how it was divided.
    public struct Source: Sendable, Equatable {
        /// Of the content as read, see ``Dataset/contentSHA256``.
        public var sha256: String
        /// Part of the examples that is the test set; 0 where the data has one of its own.
        public var testFraction: Double
        public var seed: UInt64
        /// Part of the training examples that was set apart for validation; 0 for none.
        public var validationFraction: Double
        /// Of a text: how far an example begins behind the one before it; nil: where that ends.
        public var stride: Int?
        /// Of a text: its clients are those who speak in it.
        public var isByRole: Bool

        public init(
            sha256: String, testFraction: Double, seed: UInt64, validationFraction: Double = 0, stride: Int? = nil,
            isByRole: Bool = false
        ) {
            self.sha256 = sha256
            self.stride = stride
            self.isByRole = isByRole
            self.validationFraction = validationFraction
            self.testFraction = testFraction
            self.seed = seed
        }
    }

    public var features: Features
    public var target: Target
    public var source: Source?

    public init(features: Features, target: Target, source: Source? = nil) {
        self.features = features
        self.target = target
        self.source = source
    }

    /// The key of a schema in the metadata of shards and weights.
    public static var key: String { Weights.schemaKey }

    /// The shape of one example.
    public var inputShape: [Int] {
        switch features {
        case .table(let columns): [columns.reduce(0) { $0 + $1.width }]
        case .pixels(let shape, _), .numbers(let shape): shape
        case .tokens(let length, _): [length]
        }
    }

    /// How many tokens there are, of texts.
    public var tokens: Int? {
        if case .tokens(_, let vocabulary) = features { vocabulary?.count ?? TextVocabulary.bytes.count } else { nil }
    }

    /// Numbers that a model of this data gives: one for each class, or for each number to predict.
    public var outputs: Int {
        switch target {
        case .classes(let names, _): names.count
        case .numbers(let columns): columns.count
        }
    }

    public var classNames: [String]? {
        if case .classes(let names, _) = target { names } else { nil }
    }

    /// The columns that are no features.
    public var targetColumns: [String] {
        switch target {
        case .classes(_, let column): column.map { [$0] } ?? []
        case .numbers(let columns): columns
        }
    }

    /// Names of all features of a table; empty for anything else.
    public var columnNames: [String] {
        if case .table(let columns) = features { columns.map(\.name) } else { [] }
    }

    static let maximumInputs = 1 << 24

    /// What is wrong with it, if anything: names twice, numbers out of range.
    func check() throws(DeMLError) {
        func refuse(_ what: String) -> DeMLError { DeMLError(.malformed, what, place: Self.key) }
        func checkNames(_ names: [String], _ what: String) throws(DeMLError) {
            guard Set(names).count == names.count else { throw refuse("\(what) has a name twice") }
        }
        switch features {
        case .table(let columns):
            try checkNames(columns.map(\.name) + targetColumns, "the list of columns")
            var inputs = 0
            for column in columns {
                switch column.kind {
                case .number(let mean, let deviation):
                    guard mean.isFinite, deviation.isFinite, deviation > 0 else {
                        throw refuse("the column \(column.name.quotedForMessage) has a mean or std out of range")
                    }
                case .category(let values):
                    guard !values.isEmpty else {
                        throw refuse("the column \(column.name.quotedForMessage) has no values")
                    }
                    try checkNames(values, "the column \(column.name.quotedForMessage)")
                }
                inputs += column.width
            }
            guard (1...Self.maximumInputs).contains(inputs) else { throw refuse("\(inputs) inputs are out of range") }
        case .pixels(let shape, _), .numbers(let shape):
            guard (1...4).contains(shape.count), shape.allSatisfy({ $0 > 0 }),
                let count = elementCount(of: shape), count <= Self.maximumInputs
            else { throw refuse("the shape \(shape) is out of range") }
            if case .pixels = features, shape.count != 3 { throw refuse("the shape \(shape) is none of a picture") }
        case .tokens(let length, let vocabulary):
            guard (1...Self.maximumInputs).contains(length) else {
                throw refuse("the length \(length) is out of range")
            }
            if let vocabulary { try checkNames(vocabulary, "the vocabulary") }
        }
        switch target {
        case .classes(let names, _):
            guard (1...Dataset.maximumClasses).contains(names.count) else {
                throw refuse("\(names.count) classes are out of range")
            }
            try checkNames(names, "the list of classes")
        case .numbers(let columns):
            guard !columns.isEmpty else { throw refuse("there is no target") }
            try checkNames(columns, "the list of targets")
        }
        if let source {
            guard (0..<1).contains(source.testFraction), (0..<1).contains(source.validationFraction),
                source.sha256.utf8.count == 64, (1...1 << 20).contains(source.stride ?? 1)
            else {
                throw refuse("the data is not described as DeML does")
            }
        }
    }
}
