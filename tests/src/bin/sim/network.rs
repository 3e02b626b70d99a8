//! Network: a broker that may forget, and ways to it that lose, repeat, delay and reorder.

use std::collections::BTreeMap;

use tidegate_tests::dice::Dice;

/// Who is at an end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Client {
    /// A physical device, by its number.
    Device(usize),
    /// A gateway, by its number.
    Gateway(usize),
}

/// A message as it travels.
#[derive(Debug, Clone)]
pub struct Message {
    pub topic: String,
    pub payload: Vec<u8>,
    pub retained: bool,
}

/// What arrives somewhere.
#[derive(Debug, Clone)]
pub enum Arrival {
    /// At the broker, from a client's connection.
    Broker(Client, u64, Message),
    /// At a client, on a connection.
    Client(Client, u64, Message),
    /// The broker notices that a connection is gone, and says the will.
    Will(Message),
}

/// How bad the ways are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weather {
    /// Messages lost, in a hundred.
    pub loss: u64,
    /// Messages repeated, in a hundred.
    pub repeats: u64,
    /// Longest time on the way, in µs; the shortest is 1 ms.
    pub delay_us: u64,
    /// Whether messages overtake each other, which those of one connection do not.
    pub reorders: bool,
}

impl Weather {
    /// A good day.
    pub const FAIR: Self = Self {
        loss: 0,
        repeats: 0,
        delay_us: 20_000,
        reorders: false,
    };
}

#[derive(Debug)]
struct Connection {
    number: u64,
    name: String,
    filters: Vec<String>,
    will: Message,
}

/// The broker and the ways to it.
#[derive(Debug)]
pub struct Network {
    pub weather: Weather,
    pub is_up: bool,
    dice: Dice,
    retained: BTreeMap<String, Vec<u8>>,
    connections: BTreeMap<Client, Connection>,
    underway: BTreeMap<(u64, u64), Arrival>,
    /// When the newest message of a connection and direction arrives.
    newest: BTreeMap<(u64, bool), u64>,
    numbers: u64,
    pub lost: u64,
    pub repeated: u64,
    /// What clients have said, wills included, since somebody looked: topic and payload.
    pub said: Vec<(String, Vec<u8>)>,
}

impl Network {
    pub fn new(seed: u64) -> Self {
        Self {
            weather: Weather::FAIR,
            is_up: true,
            dice: Dice::new(seed),
            retained: BTreeMap::new(),
            connections: BTreeMap::new(),
            underway: BTreeMap::new(),
            newest: BTreeMap::new(),
            numbers: 0,
            lost: 0,
            repeated: 0,
            said: Vec::new(),
        }
    }

    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    /// Connects under a client id; whoever had it is disconnected, as brokers do. Returns the
    /// connection's number and who was thrown out.
    pub fn connect(
        &mut self,
        client: Client,
        name: &str,
        will: Message,
        now_us: u64,
    ) -> Option<(u64, Option<Client>)> {
        if !self.is_up {
            return None;
        }
        let same = |(other, one): (&Client, &Connection)| (one.name == name).then_some(*other);
        let thrown = self.connections.iter().find_map(same);
        if let Some(thrown) = thrown {
            self.disconnect(thrown, true, now_us);
        }
        self.said.push((will.topic.clone(), will.payload.clone()));
        let number = self.number();
        let connection = Connection {
            number,
            name: name.to_owned(),
            filters: Vec::new(),
            will,
        };
        self.connections.insert(client, connection);
        Some((number, thrown.filter(|thrown| *thrown != client)))
    }

    /// Subscribes, and sends what the broker has retained.
    pub fn subscribe(&mut self, client: Client, filters: &[String], now_us: u64) {
        let Some(connection) = self.connections.get_mut(&client) else {
            return;
        };
        connection.filters = filters.to_vec();
        let number = connection.number;
        let kept: Vec<Message> = self
            .retained
            .iter()
            .filter(|(topic, _)| filters.iter().any(|filter| matches(filter, topic)))
            .map(|(topic, payload)| Message {
                topic: topic.clone(),
                payload: payload.clone(),
                retained: true,
            })
            .collect();
        for message in kept {
            self.send(now_us, &Arrival::Client(client, number, message));
        }
    }

    pub fn is_subscribed(&self, client: Client) -> bool {
        let connection = self.connections.get(&client);
        connection.is_some_and(|connection| !connection.filters.is_empty())
    }

    pub fn is_connected(&self, client: Client) -> bool {
        self.connections.contains_key(&client)
    }

    /// Ends a connection. Without a goodbye the broker says the will, sooner or later.
    pub fn disconnect(&mut self, client: Client, at_once: bool, now_us: u64) {
        if let Some(connection) = self.connections.remove(&client) {
            let wait_us = if at_once {
                0
            } else {
                self.dice.below(60_000_000)
            };
            let key = (now_us + wait_us, self.number());
            self.underway.insert(key, Arrival::Will(connection.will));
        }
    }

    /// Ends a connection in good order: no will is said.
    pub fn say_goodbye(&mut self, client: Client) {
        self.connections.remove(&client);
    }

    /// The broker stops: it forgets everything. Returns who was connected.
    pub fn stop_broker(&mut self) -> Vec<Client> {
        self.is_up = false;
        self.retained.clear();
        self.underway.clear();
        let clients = self.connections.keys().copied().collect();
        self.connections.clear();
        clients
    }

    /// A client publishes.
    pub fn publish(&mut self, client: Client, message: Message, now_us: u64) {
        if let Some(connection) = self.connections.get(&client) {
            let number = connection.number;
            let Message { topic, payload, .. } = &message;
            self.said.push((topic.clone(), payload.clone()));
            self.send(now_us, &Arrival::Broker(client, number, message));
        }
    }

    /// Sends over a way: in no, one or two copies.
    fn send(&mut self, now_us: u64, arrival: &Arrival) {
        if self.dice.percent(self.weather.loss) {
            self.lost += 1;
            return;
        }
        let copies = 1 + u64::from(self.dice.percent(self.weather.repeats));
        self.repeated += copies - 1;
        for _ in 0..copies {
            let mut at_us = now_us + 1_000 + self.dice.below(self.weather.delay_us.max(1));
            let way = match arrival {
                Arrival::Broker(_, number, _) => (*number, true),
                Arrival::Client(_, number, _) => (*number, false),
                Arrival::Will(_) => (0, true),
            };
            let newest = self.newest.entry(way).or_default();
            if !self.weather.reorders {
                at_us = at_us.max(*newest);
            }
            *newest = at_us.max(*newest);
            let key = (at_us, self.number());
            self.underway.insert(key, arrival.clone());
        }
    }

    /// When something arrives next.
    pub fn next_us(&self) -> Option<u64> {
        self.underway.first_key_value().map(|((at, _), _)| *at)
    }

    /// What arrives at a client by now; what arrives at the broker is passed on.
    pub fn take_due(&mut self, now_us: u64) -> Option<(Client, Message)> {
        loop {
            let entry = self.underway.first_entry()?;
            if entry.key().0 > now_us {
                return None;
            }
            match entry.remove() {
                Arrival::Client(client, number, message) => {
                    let current = self.connections.get(&client);
                    if current.is_some_and(|connection| connection.number == number) {
                        return Some((client, message));
                    }
                }
                Arrival::Broker(client, number, message) => {
                    let current = self.connections.get(&client);
                    if current.is_some_and(|connection| connection.number == number) {
                        self.spread(&message, now_us);
                    }
                }
                Arrival::Will(message) => self.spread(&message, now_us),
            }
        }
    }

    /// The broker keeps a message if it is to, and passes it on.
    fn spread(&mut self, message: &Message, now_us: u64) {
        if !self.is_up {
            return;
        }
        if message.retained {
            let (topic, payload) = (message.topic.clone(), message.payload.clone());
            self.retained.insert(topic, payload);
        }
        let to: Vec<(Client, u64)> = self
            .connections
            .iter()
            .filter(|(_, one)| one.filters.iter().any(|f| matches(f, &message.topic)))
            .map(|(client, one)| (*client, one.number))
            .collect();
        for (client, number) in to {
            let message = Message {
                retained: false,
                ..message.clone()
            };
            self.send(now_us, &Arrival::Client(client, number, message));
        }
    }
}

/// Whether a filter with `+` for one level matches a topic.
fn matches(filter: &str, topic: &str) -> bool {
    let (mut filter, mut topic) = (filter.split('/'), topic.split('/'));
    loop {
        match (filter.next(), topic.next()) {
            (None, None) => return true,
            (Some("+"), Some(_)) => {}
            (Some(one), Some(other)) if one == other => {}
            _ => return false,
        }
    }
}
