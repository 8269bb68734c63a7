extension MachinePool {
    /// Does the same work for each of many items, on as many machines as the plan keeps, and returns the results in the
    /// order of the items.
    ///
    /// An item whose machine is lost, or fails it, is given to a machine of another provider. What is thrown by `work` and
    /// is no ``GolemError`` ends all at once.
    ///
    /// - Parameters:
    ///   - attempts: how often an item is tried at most, 1 or more.
    ///   - work: gets the machine for the time of the call.
    /// - Throws: what the last attempt of an item threw, after the work under way was called off.
    public func map<Item: Sendable, Output: Sendable>(
        _ items: [Item], attempts: Int = 3, _ work: @Sendable @escaping (Machine, Item) async throws -> Output
    ) async throws -> [Output] {
        precondition(attempts >= 1, "an item is tried once at least")
        let parallel = max(1, engine.plan.machines)
        return try await withThrowingTaskGroup(of: (Int, Output).self) { group in
            var results = [Output?](repeating: nil, count: items.count)
            var next = 0
            func begin() {
                guard next < items.count else { return }
                let index = next
                next += 1
                group.addTask { (index, try await self.perform(items[index], attempts: attempts, work)) }
            }
            for _ in 0..<parallel { begin() }
            while let (index, output) = try await group.next() {
                results[index] = output
                begin()
            }
            return results.compactMap(\.self)
        }
    }

    private func perform<Item: Sendable, Output: Sendable>(
        _ item: Item, attempts: Int, _ work: @Sendable (Machine, Item) async throws -> Output
    ) async throws -> Output {
        var failed: Set<NodeID> = []
        var last: GolemError?
        for attempt in 1... {
            let machine: Machine
            do {
                machine = try await self.next(excluding: failed)
            } catch let error as GolemError where error.code == .noMachine {
                // That nobody else is there says less than why those who were failed.
                throw last ?? error
            }
            do {
                let output = try await work(machine, item)
                await giveBack(machine)
                return output
            } catch let error as GolemError where error.mayGoBetterElsewhere && attempt < attempts {
                last = error
                failed.insert(machine.providerID)
                await giveBack(machine)
            } catch {
                await giveBack(machine)
                throw error
            }
        }
        throw CancellationError()
    }
}

extension GolemError {
    /// Whether another machine may do what failed with this error: it is not about our own side.
    var mayGoBetterElsewhere: Bool {
        ![.usage, .unauthorized, .budget, .stopped, .io, .noMachine, .unsupported].contains(code)
    }
}
