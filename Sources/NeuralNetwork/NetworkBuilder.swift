import CKernels
import Tensors

/// Turns a checked description into operations and their arrays. Layers add themselves, each by its `build`.
struct NetworkBuilder {
    /// A chain of operations from `input` to `output`.
    struct Branch {
        let operations: [any Operation]
        let input: Activations
        let output: Activations
    }

    let purpose: Network.Purpose
    private let storage: Storage
    private let conditions: KernelConditions
    /// What the kernels read of the optimiser; one for all parameters.
    let optimizer: UnsafeMutablePointer<deml_optimizer>
    /// In the order of `state_dict()`.
    private(set) var parameters: [Parameter] = []
    /// Of the branch that is being built.
    private var operations: [any Operation] = []
    /// The function of the next layer, until it is taken.
    private var nextActivation: deml_activation?
    private var randomNumbers: UInt32 = 0
    /// The model's embedding, once it is built.
    var embedding: SharedEmbedding?
    /// Whether memory is only counted: then no array may be written.
    var isPlan: Bool { storage.isPlan }

    init(
        purpose: Network.Purpose, conditions: KernelConditions, storage: Storage,
        optimizer: UnsafeMutablePointer<deml_optimizer>
    ) {
        self.purpose = purpose
        self.conditions = conditions
        self.storage = storage
        self.optimizer = optimizer
    }

    // MARK: Layers

    /// The operations of `layers`, beginning at `input`.
    mutating func branch(_ layers: [ResolvedLayer], from input: Activations) throws(DeMLError) -> Branch {
        let outer = (operations, nextActivation, storage.place)
        defer { (operations, nextActivation, storage.place) = outer }
        operations = []
        var current = input
        var index = 0
        while index < layers.count {
            let next = index + 1 < layers.count ? layers[index + 1].layer.definition.fusible : nil
            nextActivation = next
            storage.place = "layer \(layers[index].name) (\(layers[index].layer.type))"
            current = try layers[index].layer.definition.build(layers[index], current, &self)
            let isTaken = next != nil && nextActivation == nil
            index += isTaken ? 2 : 1
        }
        return Branch(operations: operations, input: input, output: current)
    }

    /// For a layer that computes a function with its output at once: that of the layer which follows, which then is not
    /// built itself, or the identity.
    mutating func takeActivation() -> deml_activation {
        defer { nextActivation = nil }
        return nextActivation ?? DEML_IDENTITY
    }

    /// The place of a layer among those that draw random numbers.
    mutating func takeRandomNumber() -> UInt32 {
        defer { randomNumbers += 1 }
        return randomNumbers
    }

    /// Adds an operation to the branch.
    mutating func append(_ operation: any Operation) {
        operations.append(operation)
        storage.add(operation.scratch(conditions))
    }

    /// The same numbers in another layout.
    mutating func converted(_ x: Activations, to layout: Layout) throws(DeMLError) -> Activations {
        guard x.layout != layout else { return x }
        guard !x.isEitherLayout else { return x.relabelled(layout: layout) }
        let y = try output(x.shape, layout, of: x)
        append(LayoutChange(x, y))
        return y
    }

    /// A branch with its output in another layout.
    mutating func converted(_ branch: Branch, to layout: Layout) throws(DeMLError) -> Branch {
        let outer = operations
        defer { operations = outer }
        operations = branch.operations
        let output = try converted(branch.output, to: layout)
        return Branch(operations: operations, input: branch.input, output: output)
    }

    // MARK: Arrays

    /// `count` elements for each example of a batch, zeros at first.
    func array<Element: BitwiseCopyable>(
        of _: Element.Type = Float.self, perExample count: Int, for use: MemoryPlan.Use
    ) throws(DeMLError) -> UnsafeMutablePointer<Element> {
        try storage.allocate(Element.self, conditions.batch.multipliedSaturated(by: count), for: use)
    }

    /// `count` numbers whatever the batch, zeros at first.
    func array(count: Int, for use: MemoryPlan.Use) throws(DeMLError) -> UnsafeMutablePointer<Float> {
        try storage.floats(count, for: use)
    }

    /// Takes a gradient that is no parameter's own.
    func gradientSink(_ gradient: UnsafeMutablePointer<Float>?) -> UnsafeMutablePointer<deml_sink> {
        var sink = deml_sink()
        sink.gradient = gradient
        return storage.record(sink)
    }

    /// The output of a layer behind `x`. It has a gradient if a parameter comes before it.
    func output(
        _ shape: [Int], _ layout: Layout, of x: Activations, hasParameters: Bool = false
    ) throws(DeMLError) -> Activations {
        let size = shape.reduce(1, *)
        let needsGradient = !purpose.isInference && (hasParameters || x.gradient != nil)
        return Activations(
            shape: shape, layout: layout, values: try array(perExample: size, for: .activations),
            gradient: needsGradient ? try array(perExample: size, for: .gradients) : nil)
    }

    /// The output of an elementwise layer: values of its own, but the gradient passes through one array.
    func elementwiseOutput(of x: Activations) throws(DeMLError) -> Activations {
        Activations(
            shape: x.shape, layout: x.layout, values: try array(perExample: x.size, for: .activations),
            gradient: x.gradient)
    }

    /// The input of a second branch: the same values, and a gradient of its own.
    func sharedValues(of x: Activations) throws(DeMLError) -> Activations {
        let gradient = x.gradient == nil ? nil : try array(perExample: x.size, for: .gradients)
        return Activations(shape: x.shape, layout: x.layout, values: x.values, gradient: gradient)
    }

    /// A parameter of a layer; `order`: nil where the kernels keep it as torch does. They are made in the order of
    /// `state_dict()`.
    mutating func parameter(
        _ description: ParameterDescription, _ order: ParameterOrder? = nil
    ) throws(DeMLError) -> Parameter {
        let parameter = try Parameter(
            description, order: order, purpose: purpose, optimizer: optimizer, in: storage)
        parameters.append(parameter)
        return parameter
    }
}
