// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IDisputes} from "../../src/interfaces/IDisputes.sol";
import {IMarket} from "../../src/interfaces/IMarket.sol";
import {Phase, Tree} from "../../src/types/Position.sol";
import {Base} from "../Base.sol";
import {Toy} from "../toy/Toy.sol";

/// @title Everybody at once
/// @notice Each function makes a call that is legal by construction, or none where none is; a call that reverts is a bug.
contract Handler is Base {
    uint256 private constant PROVIDERS = 3;
    uint256 private constant CHALLENGERS = 3;
    uint128 private constant GAS_PRICE = 1 gwei;

    uint256 public calls;
    uint256 public done;

    bytes32[] public claims;
    bytes32[] public disputeIds;
    address[] public accounts;
    uint256 private _salt;

    modifier counted() {
        calls++;
        _;
    }

    function start() external {
        setUp();
        for (uint160 i = 0xA0; i <= 0xA5; i++) {
            accounts.push(address(i));
        }
        for (uint160 i; i < PROVIDERS + CHALLENGERS; i++) {
            address account = address(0xB000 + i);
            accounts.push(account);
            vm.deal(account, 1_000_000 ether);
            if (i >= PROVIDERS) continue;
            vm.startPrank(account);
            market.stake{value: 20 ether}();
            market.setNode(vm.addr(NODE_KEY));
            vm.stopPrank();
        }
        accounts.push(address(this));
    }

    function marketUnderTest() external view returns (IMarket) {
        return market;
    }

    function claimCount() external view returns (uint256) {
        return claims.length;
    }

    function disputeCount() external view returns (uint256) {
        return disputeIds.length;
    }

    function accountCount() external view returns (uint256) {
        return accounts.length;
    }

    /// @dev As a consumer: takes, or does not take, depending on the request.
    function onResult(uint256 request, bytes32, bytes calldata, bytes32) external pure {
        require(request % 3 != 0, "unwilling");
    }

    // ---- What anybody does

    function pass(uint256 seconds_) external counted {
        vm.warp(block.timestamp + bound(seconds_, 1, 25));
        done++;
    }

    function setBaseFee(uint256 fee) external counted {
        vm.fee(bound(fee, 0, 20 gwei));
        done++;
    }

    function stake(uint256 who, uint256 amount) external counted {
        vm.prank(_provider(who));
        market.stake{value: bound(amount, 0, 3 ether)}();
        done++;
    }

    function unstake(uint256 who, uint256 amount) external counted {
        address account = _provider(who);
        IMarket.Provider memory p = market.providerOf(account);
        vm.prank(account);
        market.unstake(bound(amount, 0, p.staked - p.reserved) / 4);
        done++;
    }

    function ask(uint256 extra, bool callback) external counted {
        IMarket.Options memory options =
            callback ? IMarket.Options(IMarket.CallbackMode.Final, 30_000, GAS_PRICE, 0) : noCallback();
        (uint256 fee, uint256 prepaid) = market.quote(model, options.callbackGas, options.callbackGasPrice);
        uint256 value = fee + prepaid + bound(extra, 0, 1 ether);
        vm.deal(address(this), value);
        market.request{value: value}(model, inputs(), options);
        done++;
    }

    function makeClaim(uint256 which, uint256 who) external counted {
        if (_makeClaim(which, who)) done++;
    }

    /// @dev Waits for the window to pass where that is all that is missing.
    function finalize(uint256 which) external counted {
        (bool found, uint256 request) = _request(which, IMarket.RequestStatus.Claimed);
        if (!found) return;
        IMarket.Claim memory c = market.claimOf(market.requestOf(request).claim);
        if (c.openDisputes != 0) return;
        if (block.timestamp <= c.windowEnd) vm.warp(c.windowEnd + 1);
        market.finalize(request);
        done++;
    }

    function deliver(uint256 which) external counted {
        (bool found, uint256 request) = _request(which, IMarket.RequestStatus.Final);
        if (!found || market.requestOf(request).delivery != IMarket.Delivery.Pending) return;
        vm.txGasPrice(which % 3 * GAS_PRICE);
        vm.prank(stranger);
        market.deliver(request, outputs());
        done++;
    }

    function refund(uint256 which) external counted {
        (bool found, uint256 request) = _request(which, IMarket.RequestStatus.Requested);
        if (!found || block.timestamp <= market.requestOf(request).deadline) return;
        market.refund(request);
        done++;
    }

    function withdraw(uint256 who) external counted {
        for (uint256 i; i < accounts.length; i++) {
            address account = accounts[(who % accounts.length + i) % accounts.length];
            if (market.creditOf(account) == 0) continue;
            vm.prank(account);
            market.withdraw(payable(address(0xFFFF)));
            done++;
            return;
        }
    }

    // ---- What happens in disputes

    function open(uint256 which, uint256 who) external counted {
        if (_open(which, who)) done++;
    }

    /// @dev A move of whoever's turn it is.
    function move(uint256 which, uint256 how) external counted {
        (bool found, bytes32 dispute) = _dispute(which);
        if (!found) {
            if (_open(which, how)) done++;
            return;
        }
        IDisputes.Dispute memory d = disputes.disputeOf(dispute);
        challenger = d.challenger;
        if (block.timestamp > d.deadline) {
            bytes32 s = state(dispute);
            (bool stands, bytes32 root) = disputes.layerRootOf(d.claim, d.position.layer);
            if (d.position.phase == Phase.Layering && stands) disputes.answerLayer(dispute, s, root, "");
            else disputes.timeout(dispute, s);
        } else if (d.position.phase == Phase.Revealing) {
            reveal(dispute, _leaves(d));
        } else if (d.position.phase == Phase.Layering) {
            answerLayer(dispute, d.position.layer);
        } else if (d.position.phase == Phase.Defending) {
            // Mostly honest.
            uint256 verdict = how % 8;
            defend(dispute, verdict == 0 ? OUTSIDE : verdict == 1 ? UNDECODABLE : INSIDE);
        } else if (d.position.phase == Phase.Totalling) {
            total(dispute, how % 8 == 0 ? OUTSIDE : how % 8 == 1 ? UNDECODABLE : INSIDE);
        } else if (d.position.phase == Phase.Splitting) {
            split(dispute);
        } else if (d.position.phase == Phase.Proving) {
            prove(dispute, how % 4 == 0 ? OUTSIDE : INSIDE);
        } else if (d.position.phase == Phase.Parting) {
            part(dispute, how % (partsOf(dispute).length / 2));
        } else {
            _choose(dispute, d, how);
        }
        done++;
    }

    function convict(uint256 which, uint256 how) external counted {
        (bool found, bytes32 dispute) = _dispute(which);
        if (!found || how % 3 != 0) return;
        IDisputes.Dispute memory d = disputes.disputeOf(dispute);
        if (block.timestamp > d.deadline) return;
        challenger = d.challenger;
        convict(dispute, how % 9 == 0 ? UNDECODABLE : OUTSIDE);
        done++;
    }

    function settle(uint256 which) external counted {
        for (uint256 i; i < disputeIds.length; i++) {
            bytes32 dispute = disputeIds[(which % disputeIds.length + i) % disputeIds.length];
            if (phase(dispute) != Phase.Moot) continue;
            disputes.settle(dispute);
            done++;
            return;
        }
    }

    // ---- Choices

    /// @dev For some request that waits, or for a new one.
    function _makeClaim(uint256 which, uint256 who) private returns (bool) {
        (bool found, uint256 request) = _request(which, IMarket.RequestStatus.Requested);
        if (!found || market.requestOf(request).deadline < block.timestamp) request = newRequest();
        for (uint256 i; i < PROVIDERS; i++) {
            provider = _provider(who % PROVIDERS + i);
            IMarket.Provider memory p = market.providerOf(provider);
            if (market.isStruck(request, provider) || p.staked - p.reserved < WORKER_BOND) continue;
            claims.push(newClaim(request));
            return true;
        }
        return false;
    }

    /// @dev On one of the latest claims, or on a new one.
    function _open(uint256 which, uint256 who) private returns (bool) {
        bytes32 claim;
        if (claims.length != 0) claim = claims[claims.length - 1 - which % _least(claims.length, 3)];
        IMarket.Claim memory c = market.claimOf(claim);
        if (c.status != IMarket.ClaimStatus.Open || block.timestamp > c.windowEnd) {
            if (!_makeClaim(which, who)) return false;
            claim = claims[claims.length - 1];
        }
        disputeIds.push(openedBy(_challenger(who), claim, _salt++));
        return true;
    }

    function _choose(bytes32 dispute, IDisputes.Dispute memory d, uint256 how) private {
        bool mayAsk = d.turns + 1 < market.parameters().maxTurns;
        uint256 choice = how % 6;
        if (d.position.phase == Phase.Picking && mayAsk && choice < 3) {
            // Child 0 is never beyond the count; where all are in, another one.
            uint256 step = d.position.depth < 3 ? d.position.depth : 3;
            uint256 last = ((uint256(d.position.index) << step) + (1 << step)) << (d.position.depth - step);
            descend(dispute, _leaves(d), last <= d.count ? how / 6 % (1 << step) : 0);
        } else if (d.position.phase == Phase.Choosing && d.position.depth > 0 && mayAsk && choice < 3) {
            ask(dispute);
        } else if (choice == 3 && mayAsk) {
            askLayer(dispute, how % 2 == 0 ? 9 : 17);
        } else if (choice == 4 && d.position.depth > 0) {
            uint256 first = uint256(d.position.index) << d.position.depth;
            bytes32[] memory leaves = _leaves(d);
            bytes32 s = state(dispute);
            vm.prank(challenger);
            disputes.skip(dispute, s, first, leaves[first], Toy.proof(leaves, d.position.depth, first));
        } else if (choice == 5) {
            bytes32 s = state(dispute);
            vm.prank(challenger);
            disputes.concede(dispute, s);
        } else {
            point(dispute, how % 4 < 2 ? 3 : Toy.LONG, uint64(how % 6));
        }
    }

    function _leaves(IDisputes.Dispute memory d) private pure returns (bytes32[] memory) {
        return d.position.tree == Tree.Trace ? Toy.trace() : Toy.inner(d.position.layer);
    }

    function _provider(uint256 who) private pure returns (address) {
        return address(uint160(0xB000 + who % PROVIDERS));
    }

    function _challenger(uint256 who) private pure returns (address) {
        return address(uint160(0xB000 + PROVIDERS + who % CHALLENGERS));
    }

    function _least(uint256 a, uint256 b) private pure returns (uint256) {
        return a < b ? a : b;
    }

    /// @dev Some request of this status.
    function _request(uint256 which, IMarket.RequestStatus status) private view returns (bool, uint256) {
        uint256 count = market.requestCount();
        for (uint256 i; i < count; i++) {
            uint256 request = (which % count + i) % count + 1;
            if (market.requestOf(request).status == status) return (true, request);
        }
        return (false, 0);
    }

    /// @dev Some live dispute.
    function _dispute(uint256 which) private view returns (bool, bytes32) {
        for (uint256 i; i < disputeIds.length; i++) {
            bytes32 dispute = disputeIds[(which % disputeIds.length + i) % disputeIds.length];
            Phase p = phase(dispute);
            if (p >= Phase.Choosing && p <= Phase.Proving) return (true, dispute);
        }
        return (false, 0);
    }
}
