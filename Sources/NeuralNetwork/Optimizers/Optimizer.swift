import CKernels
import Tensors

/// One way for parameters to follow their gradients. What there is to say of an optimiser stands in its own file: its
/// options with torch's names and defaults, what is refused, what it keeps, and how the kernels are told.
protocol Optimizer: Sendable, Equatable {
    /// Its name in a description.
    static var type: String { get }
    /// The keys of its options, besides `type` and `learning_rate`.
    static var options: [String] { get }

    /// torch's default of the learning rate.
    static var standardLearningRate: Double { get }

    /// Takes what is given; what is not has torch's default.
    init(learningRate: Double, _ given: OptimizerOptions) throws(DeMLError)

    var learningRate: Double { get set }
    /// The arrays that it keeps for each parameter between steps, by torch's names; at most two, zeros at first.
    var stateNames: [String] { get }
    /// These settings as the kernels take them, before the first step.
    var kernel: deml_optimizer { get }

    /// Refuses settings that torch refuses, and those that single precision cannot hold.
    func validate() throws(DeMLError)
    /// Every option but the type and the learning rate, in the order of `options`.
    var values: [(key: String, value: OptimizerDescription.Value)] { get }
}

extension OptimizerDescription {
    /// The optimisers there are: one line each.
    static let registry: [any Optimizer.Type] = [
        SGD.self,
        Adam.self,
        AdamW.self,
        RMSprop.self,
        Lion.self,
    ]
}

extension Optimizer {
    static var standardLearningRate: Double { 1e-3 }

    /// Throws `outOfRange` for a value that is not valid or no finite number in single precision.
    func check(_ name: String, _ value: Double, _ isValid: Bool) throws(DeMLError) {
        guard isValid, Float(value).isFinite else {
            throw DeMLError(.outOfRange, "\(name) \(value) is out of range", place: "optimizer")
        }
    }

    func isEqual(to other: any Optimizer) -> Bool {
        other as? Self == self
    }
}

/// The options that somebody gave for an optimiser: out of a mapping, or one by one.
struct OptimizerOptions {
    private enum Source {
        case mapping(StrictContainer)
        case values([String: any Sendable])
    }

    private let source: Source

    init(_ mapping: StrictContainer) {
        source = .mapping(mapping)
    }

    /// `values`: Double, Bool or [Double], by key.
    init(_ values: [String: any Sendable]) {
        source = .values(values)
    }

    func number(_ key: String) throws(DeMLError) -> Double? { try value(key, Double.self) }
    func flag(_ key: String) throws(DeMLError) -> Bool? { try value(key, Bool.self) }

    /// Two numbers, such as Adam's betas.
    func pair(_ key: String) throws(DeMLError) -> (Double, Double)? {
        guard let numbers = try value(key, [Double].self) else { return nil }
        guard numbers.count == 2 else {
            throw DeMLError(.malformed, "\(key) are two numbers", place: "optimizer")
        }
        return (numbers[0], numbers[1])
    }

    /// Refuses an option of another optimiser, unless it says 0 or false.
    func refuse(_ key: String, of type: String) throws(DeMLError) {
        if let number = try? self.number(key), number == 0 { return }
        if let flag = try? self.flag(key), !flag { return }
        let isGiven =
            switch source {
            case .mapping(let container): container.has(key)
            case .values(let values): values[key] != nil
            }
        guard !isGiven else {
            throw DeMLError(.usage, "the optimizer \(type) has no \(key)", place: "optimizer")
        }
    }

    private func value<Value: Decodable>(_ key: String, _: Value.Type) throws(DeMLError) -> Value? {
        switch source {
        case .values(let values): return values[key] as? Value
        case .mapping(let container):
            do {
                return try container.optional(key, Value.self)
            } catch {
                throw DeMLError(decoding: error, of: "the optimizer")
            }
        }
    }
}
