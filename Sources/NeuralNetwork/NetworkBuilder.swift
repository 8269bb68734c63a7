import CKernels
import Tensors

/// Turns a checked description into operations and their arrays.
struct NetworkBuilder {
    let purpose: Network.Purpose
    let batchCapacity: Int
    let storage: Storage
    /// What the kernels read of the optimiser; one for all parameters.
    let optimizer: UnsafeMutablePointer<deml_optimizer>
    private(set) var parameters: [Parameter] = []
    private var dropouts: UInt32 = 0

    init(
        purpose: Network.Purpose, batchCapacity: Int, storage: Storage,
        optimizer: UnsafeMutablePointer<deml_optimizer>
    ) {
        self.purpose = purpose
        self.batchCapacity = batchCapacity
        self.storage = storage
        self.optimizer = optimizer
    }

    /// The operations of `layers`, beginning at `input`.
    mutating func branch(_ layers: [ResolvedLayer], from input: Activations) throws(DeMLError) -> Residual.Branch {
        var operations: [any Operation] = []
        var current = input
        var index = 0
        while index < layers.count {
            let isFollowedByRelu = index + 1 < layers.count && layers[index + 1].layer == .relu
            let usesRelu = try add(layers[index], isFollowedByRelu: isFollowedByRelu, &current, &operations)
            index += usesRelu ? 2 : 1
        }
        return Residual.Branch(operations: operations, input: input, output: current)
    }

    /// The same numbers in another layout.
    func converted(
        _ x: Activations, to layout: Layout, _ operations: inout [any Operation]
    ) throws(DeMLError) -> Activations {
        guard x.layout != layout else { return x }
        guard !x.isEitherLayout else { return x.relabelled(layout: layout) }
        let y = try output(x.shape, layout, of: x)
        operations.append(LayoutChange(x, y))
        return y
    }

    /// Adds one layer behind `x`, which becomes its output. Returns whether the relu that follows is part of it.
    private mutating func add(
        _ resolved: ResolvedLayer, isFollowedByRelu: Bool, _ x: inout Activations, _ operations: inout [any Operation]
    ) throws(DeMLError) -> Bool {
        let activation = isFollowedByRelu ? DEML_RELU : DEML_IDENTITY
        switch resolved.layer {
        case .linear:
            // Only the last dimension matters: a vector has the same layout either way.
            let input = try converted(x, to: .torch, &operations)
            let weight = try parameter(
                resolved, 0, .linear(in: input.shape[input.shape.count - 1], out: resolved.output.last ?? 0))
            let bias = try parameter(resolved, 1, .torch)
            guard let weight else { return false }
            x = try output(resolved.output, .torch, of: input, hasParameters: true)
            operations.append(Linear(input, x, weight: weight, bias: bias, activation: activation))
            return isFollowedByRelu
        case .conv2d(let outChannels, let kernelSize, let stride, let padding, _, _):
            let input = try converted(x, to: .channelsLast, &operations)
            let weight = try parameter(
                resolved, 0, .conv2d(in: input.channels, out: outChannels, kernel: kernelSize))
            let bias = try parameter(resolved, 1, .torch)
            guard let weight else { return false }
            x = try output(resolved.output, .channelsLast, of: input, hasParameters: true)
            operations.append(
                Convolution(
                    input, x, kernel: kernelSize, stride: stride, padding: padding, weight: weight, bias: bias,
                    activation: activation))
            return isFollowedByRelu
        case .maxPool2d(let window):
            let input = try converted(x, to: .channelsLast, &operations)
            x = try output(resolved.output, .channelsLast, of: input)
            let position = try storage.allocate(UInt16.self, batchCapacity * x.size)
            operations.append(MaxPool(input, x, window, position: position))
        case .averagePool2d(let window):
            try addAveragePool(resolved, window, &x, &operations)
        case .globalAveragePool2d:
            try addAveragePool(
                resolved, Window2D(kernelSize: Size2D(resolved.input[1], resolved.input[2])), &x, &operations)
        case .flatten:
            x = try converted(x, to: .torch, &operations).relabelled(shape: resolved.output, layout: .torch)
        case .relu: try addActivation(DEML_RELU, &x, &operations)
        case .leakyRelu(let slope): try addActivation(DEML_LEAKY_RELU, slope: Float(slope), &x, &operations)
        case .gelu: try addActivation(DEML_GELU, &x, &operations)
        case .tanh: try addActivation(DEML_TANH, &x, &operations)
        case .sigmoid: try addActivation(DEML_SIGMOID, &x, &operations)
        case .dropout(let p):
            defer { dropouts += 1 }
            guard p > 0, !purpose.isInference else { break }
            let y = try elementwiseOutput(x)
            operations.append(Dropout(x, y, probability: Float(p), number: dropouts))
            x = y
        case .layerNorm(let normalizedShape, let epsilon, _, _):
            try addLayerNorm(resolved, normalizedShape ?? resolved.input, Float(epsilon), &x, &operations)
        case .groupNorm(let groups, _, let epsilon, _):
            let input = try converted(x, to: .channelsLast, &operations)
            let gamma = try parameter(resolved, 0, .torch)
            let beta = try parameter(resolved, 1, .torch)
            x = try output(resolved.output, .channelsLast, of: input, hasParameters: gamma != nil)
            operations.append(
                GroupNorm(
                    input, x, groups: groups, epsilon: Float(epsilon), gamma: gamma, beta: beta,
                    statistics: try statistics(rowsPerExample: groups, input)))
        case .residual:
            try addResidual(resolved, &x, &operations)
        case .softmax:
            break  // Logits go to the loss; predictions take the softmax of them in any case.
        }
        return false
    }

    private func addAveragePool(
        _ resolved: ResolvedLayer, _ window: Window2D, _ x: inout Activations, _ operations: inout [any Operation]
    ) throws(DeMLError) {
        let input = try converted(x, to: .channelsLast, &operations)
        x = try output(resolved.output, .channelsLast, of: input)
        operations.append(AveragePool(input, x, window))
    }

    private func addActivation(
        _ function: deml_activation, slope: Float = 0, _ x: inout Activations, _ operations: inout [any Operation]
    ) throws(DeMLError) {
        let y = try elementwiseOutput(x)
        operations.append(Activation(x, y, function, slope: slope))
        x = y
    }

    private mutating func addLayerNorm(
        _ resolved: ResolvedLayer, _ normalizedShape: [Int], _ epsilon: Float, _ x: inout Activations,
        _ operations: inout [any Operation]
    ) throws(DeMLError) {
        // Over whole images the order of the numbers does not matter, as long as γ and β have it too.
        let isWholeImage = x.layout == .channelsLast && normalizedShape.count == x.shape.count
        let input = isWholeImage ? x : try converted(x, to: .torch, &operations)
        let order: Parameter.Order = isWholeImage ? .image(channels: x.channels, pixels: x.pixels) : .torch
        let gamma = try parameter(resolved, 0, order)
        let beta = try parameter(resolved, 1, order)
        x = try output(resolved.output, input.layout, of: input, hasParameters: gamma != nil)
        let size = normalizedShape.reduce(1, *)
        operations.append(
            LayerNorm(
                input, x, size: size, epsilon: epsilon, gamma: gamma, beta: beta,
                statistics: try statistics(rowsPerExample: input.size / size, input)))
    }

    private mutating func addResidual(
        _ resolved: ResolvedLayer, _ x: inout Activations, _ operations: inout [any Operation]
    ) throws(DeMLError) {
        var layers = try branch(resolved.body, from: x)
        var projection: Residual.Branch?
        if resolved.projection.isEmpty {
            layers = try converted(layers, to: x.layout)
        } else {
            let gradient = x.gradient == nil ? nil : try storage.floats(batchCapacity * x.size)
            let copy = Activations(shape: x.shape, layout: x.layout, values: x.values, gradient: gradient)
            projection = try converted(try branch(resolved.projection, from: copy), to: layers.output.layout)
        }
        let y = try output(
            resolved.output, layers.output.layout, of: x, hasParameters: !resolved.parameters.isEmpty)
        operations.append(Residual(x, y, layers: layers, projection: projection))
        x = y
    }

    private func converted(_ branch: Residual.Branch, to layout: Layout) throws(DeMLError) -> Residual.Branch {
        var operations = branch.operations
        let output = try converted(branch.output, to: layout, &operations)
        return Residual.Branch(operations: operations, input: branch.input, output: output)
    }

    // MARK: Arrays

    /// The output of a layer behind `x`. It has a gradient if a parameter comes before it.
    private func output(
        _ shape: [Int], _ layout: Layout, of x: Activations, hasParameters: Bool = false
    ) throws(DeMLError) -> Activations {
        let count = batchCapacity * shape.reduce(1, *)
        let needsGradient = !purpose.isInference && (hasParameters || x.gradient != nil)
        return Activations(
            shape: shape, layout: layout, values: try storage.floats(count),
            gradient: needsGradient ? try storage.floats(count) : nil)
    }

    /// The output of an elementwise layer: values of its own, but the gradient passes through one array.
    private func elementwiseOutput(_ x: Activations) throws(DeMLError) -> Activations {
        Activations(
            shape: x.shape, layout: x.layout, values: try storage.floats(batchCapacity * x.size), gradient: x.gradient)
    }

    private func statistics(rowsPerExample: Int, _ x: Activations) throws(DeMLError) -> NormStatistics {
        let needsSpare = x.gradient == nil && !purpose.isInference
        return NormStatistics(
            mean: try storage.floats(batchCapacity * rowsPerExample),
            reciprocal: try storage.floats(batchCapacity * rowsPerExample),
            spare: needsSpare ? try storage.floats(batchCapacity * x.size) : nil)
    }

    /// Parameter number `index` of a layer, if it has so many. They are made in the order of `state_dict()`.
    private mutating func parameter(
        _ resolved: ResolvedLayer, _ index: Int, _ order: Parameter.Order
    ) throws(DeMLError) -> Parameter? {
        guard index < resolved.parameters.count else { return nil }
        let parameter = try Parameter(
            resolved.parameters[index], order: order, purpose: purpose, optimizer: optimizer, in: storage)
        parameters.append(parameter)
        return parameter
    }
}
