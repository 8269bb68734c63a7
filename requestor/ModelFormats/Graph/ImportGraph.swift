import Tensors

/// Somebody else's model as a graph of values, on the way to our tree of layers.
///
/// Value 0 is the input; each node makes the next value, from values before it. A value that goes to several nodes makes
/// branches; they meet again in a join (an addition, a product, a concatenation). Where all ways to a join come through one
/// value, its *dominator* (Lengauer and Tarjan, 1979; in a graph without cycles one pass finds them), the branches from
/// there to the join are a block of the tree: residual, gate or concat. What is no such series and parallel structure is
/// refused.
struct ImportGraph {
    enum Operation {
        case step(Step.Kind)
        case join(Step.Join)
    }

    struct Node {
        var operation: Operation
        var origin: Step.Origin
        var inputs: [Int]
        /// Of one example.
        var shape: [Int]
    }

    let inputShape: [Int]
    private(set) var nodes: [Node] = []
    /// Of each value.
    private var dominators = [0]
    private var depths = [0]
    /// The concatenations there are, as they were written.
    private var concats: [(value: Int, parts: [Int])] = []

    /// Throws `tooLarge` for an input of no reasonable size.
    init(inputShape: [Int]) throws(DeMLError) {
        guard let count = elementCount(of: inputShape), count > 0, count <= Self.mostNumbers, inputShape.count <= 8
        else {
            throw DeMLError(.tooLarge, "the input shape \(inputShape) is not one of a reasonable size", place: "input")
        }
        self.inputShape = inputShape
    }

    /// Numbers of a value.
    private static let mostNumbers = 1 << 28

    static let maximumNodes = 20_000

    func shape(of value: Int) -> [Int] { value == 0 ? inputShape : nodes[value - 1].shape }

    func origin(of value: Int) -> Step.Origin? { value == 0 ? nil : nodes[value - 1].origin }

    /// Adds what makes a value of others; the value.
    mutating func add(_ node: Node) throws(DeMLError) -> Int {
        guard nodes.count < Self.maximumNodes else {
            throw DeMLError(.tooLarge, "the model has more than \(Self.maximumNodes) operations")
        }
        guard let count = elementCount(of: node.shape), count <= Self.mostNumbers else {
            throw node.origin.refusal("it makes a value of shape \(node.shape)", .tooLarge)
        }
        var node = node
        let written = node.inputs
        if case .join(.concat) = node.operation {
            node.inputs = try grouped(withoutRepetition(node.inputs), node.origin)
        }
        var dominator = node.inputs[0]
        for input in node.inputs.dropFirst() { dominator = meeting(dominator, input) }
        nodes.append(node)
        dominators.append(dominator)
        depths.append(depths[dominator] + 1)
        if case .join(.concat) = node.operation, concats.count < 1000, written.count < 1000 {
            concats.append((nodes.count, written))
        }
        return nodes.count
    }

    /// Adds a layer behind a value.
    mutating func add(
        _ layer: LayerSketch, behind value: Int, _ origin: Step.Origin
    ) throws(DeMLError) -> Int {
        let shape: [Int]
        do throws(DeMLError) { shape = try layer.output(of: self.shape(of: value)) } catch {
            throw error.at(origin.place)
        }
        return try add(
            Node(operation: .step(.layer(layer)), origin: origin, inputs: [value], shape: shape))
    }

    /// Adds any other step.
    mutating func add(
        _ kind: Step.Kind, behind value: Int, shape: [Int]? = nil, _ origin: Step.Origin
    ) throws(DeMLError) -> Int {
        try add(
            Node(operation: .step(kind), origin: origin, inputs: [value], shape: shape ?? self.shape(of: value)))
    }

    /// The last value that all ways to both come through.
    private func meeting(_ first: Int, _ second: Int) -> Int {
        var (first, second) = (first, second)
        while first != second {
            if depths[first] >= depths[second] { first = dominators[first] } else { second = dominators[second] }
        }
        return first
    }

    /// DenseNet writes [a, b] and then [a, b, c], where c is made of [a, b]: the second is the first with c beside it.
    private func withoutRepetition(_ inputs: [Int]) -> [Int] {
        let best = concats.filter { $0.parts.count < inputs.count && inputs.starts(with: $0.parts) }
            .max { $0.parts.count < $1.parts.count }
        guard let best, best.parts.count > 1 else { return inputs }
        return [best.value] + inputs.dropFirst(best.parts.count)
    }

    /// Exporters write [a, [b, c]] as [a, b, c], where b and c are made of what a is not: they are put together again.
    private mutating func grouped(_ inputs: [Int], _ origin: Step.Origin) throws(DeMLError) -> [Int] {
        var whole = inputs[0]
        for input in inputs.dropFirst() { whole = meeting(whole, input) }
        var result: [Int] = []
        var start = 0
        while start < inputs.count {
            var source = inputs[start]
            var end = start + 1
            while end < inputs.count, meeting(source, inputs[end]) != whole {
                source = meeting(source, inputs[end])
                end += 1
            }
            if end - start > 1, end - start < inputs.count {
                var shape = self.shape(of: inputs[start])
                for input in inputs[start + 1..<end] { shape[0] = shape[0].addingSaturated(self.shape(of: input)[0]) }
                let group = Array(inputs[start..<end])
                result.append(
                    try add(Node(operation: .join(.concat), origin: origin, inputs: group, shape: shape)))
            } else {
                result += inputs[start..<end]
            }
            start = end
        }
        return result
    }

    // MARK: The tree

    /// The steps from the input to a value. Throws where the structure is no tree of blocks.
    func steps(to value: Int) throws(DeMLError) -> [Step] {
        var used = Set<Int>()
        var budget = Self.maximumNodes
        return try chain(from: 0, to: value, depth: 0, &used, &budget)
    }

    private func chain(
        from start: Int, to end: Int, depth: Int, _ used: inout Set<Int>, _ budget: inout Int
    ) throws(DeMLError) -> [Step] {
        var steps: [Step] = []
        var current = end
        while current != start {
            let node = nodes[current - 1]
            budget -= 1
            guard depth <= 24, budget > 0 else {
                throw node.origin.refusal(
                    "its branches are entangled, which a tree of layers does not express", hint: Self.hint)
            }
            switch node.operation {
            case .step(let kind):
                if case .layer(let layer) = kind, !layer.parameters.isEmpty, !used.insert(current).inserted {
                    throw node.origin.refusal(
                        "its result goes to several places that never meet in one, which a tree of layers does not express",
                        hint: Self.hint)
                }
                let input = node.inputs[0]
                steps.append(
                    Step(kind: kind, origin: node.origin, input: shape(of: input), output: node.shape))
                current = input
            case .join(let join):
                let source = dominators[current]
                var branches: [[Step]] = []
                for input in node.inputs {
                    branches.append(try chain(from: source, to: input, depth: depth + 1, &used, &budget))
                }
                steps.append(
                    Step(
                        kind: .join(join, branches), origin: node.origin, input: shape(of: source), output: node.shape))
                current = source
            }
        }
        return steps.reversed()
    }

    private static let hint =
        "residual, concat and gate blocks are: branches that begin at one value and meet in one"
}
